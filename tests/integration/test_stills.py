"""A thumbnail shows what a viewer sees at its time: in every container, of every kind of picture."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.support.broadcasts import clock_moved, recording
from tests.support.media import bench_in, ffmpeg
from tests.support.shades import greys, level, shade, steps
from worker.adapters.host import bundled_tools
from worker.core.errors import InvalidJob
from worker.tasks.hls import HlsTask
from worker.tasks.thumbnail import ThumbnailTask

if TYPE_CHECKING:
    from pathlib import Path


async def still(source: Path, folder: Path, **data: object) -> Path:
    """Return the still of a source."""
    bench = bench_in(folder)
    shutil.copy(source, bench.root)
    place = {"source": f"nas://{source.name}", "output_file": "o.png", **data}
    return (await bench.run_task(ThumbnailTask(), place)).outputs[str(place["output_file"])].path


@pytest.mark.parametrize("suffix", ["ts", "mpg", "h264", "mkv", "flv", "mp4", "avi"])
async def test_a_still_is_the_last_picture_at_its_time_in_every_container(suffix: str, tmp_path: Path) -> None:
    source = steps(tmp_path, f"steps.{suffix}")
    for number, time in enumerate((0.5, 3.5, 7.5, 11.5)):
        (tmp_path / str(number)).mkdir()
        assert shade(await still(source, tmp_path / str(number), time=time)) == int(time)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
async def test_a_slide_is_shown_until_the_next_one(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"slides.{suffix}"
    slides = "color=black:s=64x64:r=1/4:d=20,geq=lum='16+16*floor(T)':cb=128:cr=128"
    ffmpeg("-f", "lavfi", "-i", slides, "-f", "lavfi", "-i", "sine=d=20", "-c:v", "libx264", "-bf", "0", str(source))
    for number, (time, slide) in enumerate(((3.9, 0), (7, 4), (13, 12))):
        (tmp_path / str(number)).mkdir()
        assert shade(await still(source, tmp_path / str(number), time=time)) == slide


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("time", [None, 0, 13, 19.9])
async def test_one_picture_under_a_long_sound_is_its_still_at_any_time(
    suffix: str, time: float | None, tmp_path: Path
) -> None:
    one, source = tmp_path / "one.mp4", tmp_path / f"podcast.{suffix}"
    ffmpeg("-f", "lavfi", "-i", "color=white:s=64x64:r=25", "-frames:v", "1", "-c:v", "libx264", str(one))
    ffmpeg("-i", str(one), "-f", "lavfi", "-i", "sine=d=20", "-map", "0", "-map", "1", "-c:v", "copy", str(source))
    assert shade(await still(source, tmp_path, **({} if time is None else {"time": time}))) >= 12


async def test_a_time_past_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match="the film lasts"):
        await still(steps(tmp_path, "steps.ts"), tmp_path, time=13)


async def test_a_still_of_a_recording_whose_clock_jumps_counts_its_pictures(tmp_path: Path) -> None:
    source = clock_moved(recording(tmp_path / "whole.ts", seconds=4), tmp_path / "jumps.ts", 3600)
    made = await still(source, tmp_path, time=3.5)
    assert made.stat().st_size > 0


def hdr_film(folder: Path, transfer: str) -> Path:
    """Return a film of one red, which BT.709 shows darker: read as if it were SDR it would keep its level."""
    source = folder / "hdr.mkv"
    colour = ("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc")
    x265 = f"log-level=error:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    # ffmpeg 8 and later take an encoder's colours from its pictures, 5.1 from the options
    pictures = f"format=yuv420p10le,setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
    ffmpeg("-f", "lavfi", "-i", "color=0xC04040:s=64x64:r=5:d=1", "-vf", pictures, "-c:v", "libx265",
           "-x265-params", x265, *colour, str(source))  # fmt: skip
    return source


def plain_level(source: Path, folder: Path) -> int:
    """Return the level of a picture that is read as if it were SDR."""
    ffmpeg("-i", str(source), "-frames:v", "1", str(folder / "plain.png"))
    return level(folder / "plain.png")


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
async def test_a_still_of_hdr_has_the_tones_of_sdr(transfer: str, tmp_path: Path) -> None:
    source = hdr_film(tmp_path, transfer)
    assert abs(level(await still(source, tmp_path)) - plain_level(source, tmp_path)) > 8


async def hls_stills(source: Path, folder: Path, **data: object) -> tuple[Path, Path]:
    """Return the poster, and the first tile of the storyboard, of an hls job."""
    bench = bench_in(folder)
    shutil.copy(source, bench.root)
    result = await bench.run_task(HlsTask(), {"source": f"nas://{source.name}", **data})
    files = {name.rpartition("/")[2]: staged.path for name, staged in result.outputs.items()}
    tile, board = folder / "tile.png", files["storyboard.vtt"].read_text()
    place = board.split("#xywh=")[1].split("\n")[0].split(",")
    ffmpeg("-i", str(files["sheet_001.jpg"]), "-vf", f"crop={place[2]}:{place[3]}:0:0", str(tile))
    return files["poster.jpg"], tile


@pytest.mark.parametrize(("transfer", "hdr"), [("smpte2084", "keep"), ("arib-std-b67", "keep"), ("smpte2084", "sdr")])
async def test_poster_and_storyboard_of_hdr_have_the_tones_of_sdr(transfer: str, hdr: str, tmp_path: Path) -> None:
    source = hdr_film(tmp_path, transfer)
    plain, mapped = plain_level(source, tmp_path), level(await still(source, tmp_path))
    renditions = [{"height": 64, "codec": "hevc" if hdr == "keep" else "h264"}]
    for made in await hls_stills(source, tmp_path / "hls", hdr=hdr, renditions=renditions):
        assert level(made) == pytest.approx(mapped, abs=4)
        assert abs(level(made) - plain) > 8


@pytest.mark.parametrize(("size", "tags"), [("64x64", ("bt709",)), ("1280x720", ()), ("64x64", ("smpte170m",))])
async def test_every_kind_of_still_has_the_colours_of_the_film(
    size: str, tags: tuple[str, ...], tmp_path: Path
) -> None:
    source = tmp_path / "green.mkv"
    matrix = tags[0] if tags else "bt709"
    picture = f"color=0x20C040:s={size}:r=5:d=1,format=rgb24"
    colours = f"scale=out_color_matrix={matrix},format=yuv420p,setparams=colorspace={matrix if tags else 'unknown'}"
    ffmpeg("-f", "lavfi", "-i", picture, "-vf", colours, "-c:v", "libx264", "-preset", "ultrafast", str(source))
    (tmp_path / "jpeg").mkdir()
    made = [await still(source, tmp_path), await still(source, tmp_path / "jpeg", output_file="o.jpg")]
    made += await hls_stills(source, tmp_path / "hls", renditions=[{"height": 64}])
    for picture in made:
        assert colour(picture) == pytest.approx((0x20, 0xC0, 0x40), abs=6)


def colour(picture: Path) -> tuple[int, ...]:
    """Return the mean red, green and blue of a still."""
    argv = ("ffmpeg", "-v", "error", "-i", str(picture), "-vf", "scale=1:1:flags=area,format=rgb24")
    return tuple(subprocess.run((*argv, "-f", "rawvideo", "-"), capture_output=True, check=True, timeout=60).stdout)


@pytest.mark.parametrize("time", [None, 0.5])
async def test_a_still_of_an_interlaced_film_has_no_combs(time: float | None, tmp_path: Path) -> None:
    source = fields(tmp_path)
    made = await still(source, tmp_path, **({} if time is None else {"time": time}))
    assert combs(made) < 0.25 * combs(first_frame(source, tmp_path))


async def test_poster_and_storyboard_of_an_interlaced_film_have_no_combs(tmp_path: Path) -> None:
    source = fields(tmp_path)
    combed = combs(first_frame(source, tmp_path))
    poster, tile = await hls_stills(source, tmp_path / "hls", renditions=[{"height": 120}])
    assert combs(poster) < 0.25 * combed
    # a tile is larger than the film
    assert combs(tile, "scale=160:120:flags=area") < 0.25 * combed


def fields(folder: Path) -> Path:
    """Return a film of a bar that moves from field to field."""
    source = folder / "fields.ts"
    bar = "color=black:s=160x120:r=50:d=2,drawbox=c=white:t=fill:w=40:h=120:x=0,scroll=h=0.1"
    ffmpeg("-f", "lavfi", "-i", f"{bar},interlace=lowpass=0", "-c:v", "mpeg2video", "-flags", "+ildct+ilme",
           "-q:v", "2", str(source))  # fmt: skip
    return source


def first_frame(source: Path, folder: Path) -> Path:
    target = folder / "combed.png"
    ffmpeg("-ss", "0.5", "-i", str(source), "-frames:v", "1", str(target))
    return target


def combs(picture: Path, *filters: str) -> float:
    """Return how much neighbouring lines differ."""
    grey = greys(picture, *filters)
    lines = [grey[at : at + 160] for at in range(0, len(grey), 160)]
    return sum(abs(a - b) for one, two in pairwise(lines) for a, b in zip(one, two, strict=True))


async def test_the_bundled_ffmpeg_finds_the_same_picture(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, ffmpeg=str(bundled_tools()["ffmpeg"]))
    shutil.copy(steps(tmp_path, "steps.ts"), bench.root)
    result = await bench.run_task(ThumbnailTask(), {"source": "nas://steps.ts", "output_file": "o.jpg", "time": 3.5})
    assert shade(result.outputs["o.jpg"].path) == 3
