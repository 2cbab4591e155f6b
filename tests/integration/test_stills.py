"""A thumbnail shows what a viewer sees at its time: in every container, of every kind of picture."""

from __future__ import annotations

import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.support.broadcasts import clock_moved, recording
from tests.support.media import bench_in, ffmpeg
from tests.support.shades import greys, level, shade, steps
from worker.adapters.host import bundled_tools
from worker.core.errors import InvalidJob
from worker.tasks.thumbnail import ThumbnailTask

if TYPE_CHECKING:
    from pathlib import Path


async def still(source: Path, folder: Path, **data: object) -> Path:
    """Return the still of a source."""
    bench = bench_in(folder)
    shutil.copy(source, bench.root)
    place = {"source": f"nas://{source.name}", "output_file": "o.png", **data}
    return (await bench.run_task(ThumbnailTask(), place)).outputs["o.png"].path


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


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
async def test_a_still_of_hdr_has_the_tones_of_sdr(transfer: str, tmp_path: Path) -> None:
    source = tmp_path / "hdr.mkv"
    # a red that BT.709 shows darker: read as if it were SDR it would keep its level
    colour = ("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc")
    x265 = f"log-level=error:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    # ffmpeg 8 and later take an encoder's colours from its pictures, 5.1 from the options
    pictures = f"format=yuv420p10le,setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
    ffmpeg("-f", "lavfi", "-i", "color=0xC04040:s=64x64:r=5:d=1", "-vf", pictures, "-c:v", "libx265",
           "-x265-params", x265, *colour, str(source))  # fmt: skip
    made = await still(source, tmp_path)
    plain = tmp_path / "plain.png"
    ffmpeg("-i", str(source), "-frames:v", "1", str(plain))
    assert abs(level(made) - level(plain)) > 8


@pytest.mark.parametrize("time", [None, 0.5])
async def test_a_still_of_an_interlaced_film_has_no_combs(time: float | None, tmp_path: Path) -> None:
    source = tmp_path / "fields.ts"
    bar = "color=black:s=160x120:r=50:d=2,drawbox=c=white:t=fill:w=40:h=120:x=0,scroll=h=0.1"
    ffmpeg("-f", "lavfi", "-i", f"{bar},interlace=lowpass=0", "-c:v", "mpeg2video", "-flags", "+ildct+ilme",
           "-q:v", "2", str(source))  # fmt: skip
    made = await still(source, tmp_path, **({} if time is None else {"time": time}))
    assert combs(made) < 0.25 * combs(first_frame(source, tmp_path))


def first_frame(source: Path, folder: Path) -> Path:
    target = folder / "combed.png"
    ffmpeg("-ss", "0.5", "-i", str(source), "-frames:v", "1", str(target))
    return target


def combs(picture: Path) -> float:
    """Return how much neighbouring lines differ."""
    grey = greys(picture)
    lines = [grey[at : at + 160] for at in range(0, len(grey), 160)]
    return sum(abs(a - b) for one, two in pairwise(lines) for a, b in zip(one, two, strict=True))


async def test_the_bundled_ffmpeg_finds_the_same_picture(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, ffmpeg=str(bundled_tools()["ffmpeg"]))
    shutil.copy(steps(tmp_path, "steps.ts"), bench.root)
    result = await bench.run_task(ThumbnailTask(), {"source": "nas://steps.ts", "output_file": "o.jpg", "time": 3.5})
    assert shade(result.outputs["o.jpg"].path) == 3
