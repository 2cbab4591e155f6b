"""A cut begins and ends where a job says, in every container; what a copied picture cannot do is reported."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.support.broadcasts import clock_moved, recording
from tests.support.media import bench_in, ffmpeg
from tests.support.shades import shade, steps
from worker.core.errors import InvalidJob
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.handbrake import HandbrakeTask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.testing import BenchResult

Films: TypeAlias = "Callable[[str], Path]"
X264 = {"codec": "libx264", "preset": "ultrafast"}
AAC = {"codec": "aac"}
COPY = {"codec": "copy"}
CASES = [("ts", AAC), ("ts", COPY), ("mpg", AAC), ("mkv", COPY), ("mp4", COPY)]
FRAME = 0.04
NEAR = 0.1


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """Return the film of steps in a container; each is made once."""
    folder = tmp_path_factory.mktemp("films")

    def film(suffix: str) -> Path:
        made = folder / f"steps.{suffix}"
        return made if made.exists() else steps(folder, made.name)

    return film


async def cut(
    source: Path, folder: Path, picture: dict[str, Any], sound: dict[str, Any] | None, **options: Any
) -> tuple[BenchResult, Path]:
    """Return what a cut of a source made."""
    bench = bench_in(folder)
    shutil.copy(source, bench.root)
    made = {"v": picture} | ({"a": sound} if sound else {})
    result = await bench.run_task(
        FfmpegTask(),
        {
            "sources": [f"nas://{source.name}"],
            "input_options": options,
            "source_maps": [{"specifier": kind} for kind in made],
            "output_maps": [{"specifier": kind, "options": how} for kind, how in made.items()],
            "output_file": "o.mkv",
        },
    )
    return result, result.outputs["o.mkv"].path


def spans(path: Path) -> dict[str, tuple[float, float]]:
    """Return begin and end of the packets of each stream, by its kind."""
    shown = ("-show_entries", "packet=codec_type,pts_time,duration_time", "-of", "json")
    answer = subprocess.run(("ffprobe", "-v", "error", *shown, str(path)), capture_output=True, check=True, timeout=60)
    found: dict[str, tuple[float, float]] = {}
    for packet in json.loads(answer.stdout)["packets"]:
        begin = float(packet["pts_time"])
        first, last = found.get(packet["codec_type"], (begin, begin))
        end = begin + float(packet.get("duration_time", 0))
        found[packet["codec_type"]] = (min(first, begin), max(last, end))
    return found


@pytest.mark.parametrize(("suffix", "sound"), CASES, ids=[f"{suffix}-{sound['codec']}" for suffix, sound in CASES])
async def test_an_encoded_piece_is_exact_in_every_container(
    suffix: str, sound: dict[str, Any], tmp_path: Path, films: Films
) -> None:
    result, made = await cut(films(suffix), tmp_path, X264, sound, ss=7.5, t=2)
    assert result.warnings == []
    for begin, end in spans(made).values():
        assert begin == pytest.approx(0, abs=NEAR)
        assert end == pytest.approx(2, abs=NEAR)
    assert shade(made) == 7


@pytest.mark.parametrize("options", [{"ss": "0:07.5", "to": 9.5}, {"sseof": -4.5, "t": 2}])
async def test_a_piece_may_be_said_by_its_end_and_from_the_films_end(
    options: dict[str, Any], tmp_path: Path, films: Films
) -> None:
    _, made = await cut(films("ts"), tmp_path, X264, AAC, **options)
    assert spans(made)["video"] == pytest.approx((0, 2), abs=NEAR)
    assert shade(made) == 7


async def test_a_piece_of_a_raw_picture_is_exact(tmp_path: Path, films: Films) -> None:
    _, made = await cut(films("h264"), tmp_path, X264, None, ss=7.5, t=2)
    assert spans(made)["video"] == pytest.approx((0, 2), abs=FRAME)
    assert shade(made) == 7


async def test_a_piece_is_found_on_the_far_side_of_a_jump_of_the_clock(tmp_path: Path) -> None:
    source = clock_moved(recording(tmp_path / "plain.ts"), tmp_path / "jump.ts", 3600)
    _, made = await cut(source, tmp_path, X264, AAC, ss=6, t=1)
    assert spans(made)["video"] == pytest.approx((0, 1), abs=NEAR)


@pytest.mark.parametrize(("suffix", "sound"), CASES, ids=[f"{suffix}-{sound['codec']}" for suffix, sound in CASES])
async def test_a_copied_piece_begins_at_the_key_frame_before_and_says_so(
    suffix: str, sound: dict[str, Any], tmp_path: Path, films: Films
) -> None:
    result, made = await cut(films(suffix), tmp_path, COPY, sound, ss=7.5, t=2)
    assert len(result.warnings) == 1
    assert "key frame at 4.8" in result.warnings[0]
    assert "instead of 7.50 s" in result.warnings[0]
    found = spans(made)
    # what was asked for ends where it should, and the sound goes with the picture
    assert found["video"][1] - found["video"][0] == pytest.approx(4.7, abs=3 * NEAR)
    assert found["audio"][0] == pytest.approx(found["video"][0], abs=2 * NEAR)
    assert shade(made) == 4


@pytest.mark.parametrize("options", [{"ss": 1}, {"t": 1}, {"ss": 0.5, "to": 1.5}, {"sseof": -1}])
async def test_a_copied_piece_of_flac_whose_header_would_lie_is_refused_at_once(
    options: dict[str, Any], tmp_path: Path
) -> None:
    bench = bench_in(tmp_path)
    ffmpeg("-f", "lavfi", "-i", "sine=d=2", str(bench.root / "sound.flac"))

    async def piece(codec: str, output: str) -> float | None:
        maps = [{"specifier": "a", "options": {"codec": codec}}]
        job = {"sources": ["nas://sound.flac"], "input_options": options, "output_maps": maps, "output_file": output}
        return (await bench.run_task(FfmpegTask(), job)).outputs[output].duration

    with pytest.raises(InvalidJob, match=r"output_file: would state the length of the whole source"):
        await piece("copy", "o.flac")
    assert await piece("flac", "o.flac") == pytest.approx(1, abs=0.1)
    assert await piece("copy", "o.mka") == pytest.approx(1, abs=0.15)


async def test_a_copied_piece_that_begins_at_a_key_frame_has_no_warning(tmp_path: Path) -> None:
    source = tmp_path / "keys.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=4", "-c:v", "libx264", "-g", "25", "-bf", "0", str(source))
    result, made = await cut(source, tmp_path, COPY, None, ss=2, t=1)
    assert result.warnings == []
    assert spans(made)["video"] == pytest.approx((0, 1), abs=NEAR)


HANDBRAKE = (
    ("ts", {"start-at": "seconds:7.5", "stop-at": "seconds:2"}, 2.0),
    ("mpg", {"start_at": {"frames": 188}, "stop_at": "frames:50"}, 2.0),
    ("mp4", {"startAt": "pts:675000"}, 4.5),
)


async def handbraked(source: Path, folder: Path, options: dict[str, Any]) -> Path:
    bench = bench_in(folder)
    shutil.copy(source, bench.root)
    coding = {"encoder": "x264", "encoder-preset": "ultrafast", "quality": 20}
    job = {"source": f"nas://{source.name}", "output_file": "o.mkv", "video_options": coding, "source_options": options}
    return (await bench.run_task(HandbrakeTask(), job)).outputs["o.mkv"].path


@pytest.mark.parametrize(("suffix", "options", "seconds"), HANDBRAKE, ids=[case[0] for case in HANDBRAKE])
async def test_a_piece_that_handbrake_cuts_is_exact(
    suffix: str, options: dict[str, Any], seconds: float, tmp_path: Path, films: Films
) -> None:
    made = await handbraked(films(suffix), tmp_path, options)
    begin, end = spans(made)["video"]
    assert end - begin == pytest.approx(seconds, abs=2 * NEAR)
    assert shade(made) == 7


async def test_a_piece_that_begins_past_the_end_is_refused(tmp_path: Path, films: Films) -> None:
    with pytest.raises(InvalidJob, match=r"source_options\.start-at: begins at 12\.50 s, but the film lasts 12"):
        await handbraked(films("ts"), tmp_path, {"start-at": "seconds:12.5"})


async def test_a_cover_stays_with_a_piece(tmp_path: Path) -> None:
    cover, source = tmp_path / "cover.jpg", tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", "1", str(cover))
    film = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4", "-i", str(cover))
    maps = ("-map", "0", "-map", "1", "-map", "2", "-disposition:v:1", "attached_pic")
    ffmpeg(*film, *maps, "-c:v:0", "libx264", "-c:a", "aac", "-c:v:1", "copy", str(source))
    bench = bench_in(tmp_path)
    shutil.copy(source, bench.root)
    maps_of = [{"specifier": "V", "options": X264}, {"specifier": "a", "options": COPY}]
    data = {"sources": ["nas://film.mp4"], "input_options": {"ss": 2, "t": 1}, "source_maps": [{"source": 0}]}
    result = await bench.run_task(FfmpegTask(), {**data, "output_maps": maps_of, "output_file": "o.mp4"})
    info = await bench.probe(result.outputs["o.mp4"].path)
    assert [stream.attached_picture for stream in info.streams] == [False, False, True]
    assert info.duration == pytest.approx(1, abs=NEAR)


async def test_pictures_without_times_are_copied_into_matroska(tmp_path: Path, films: Films) -> None:
    result, made = await cut(films("mpg"), tmp_path, COPY, COPY)
    assert result.warnings == []
    assert spans(made)["video"][1] == pytest.approx(12, abs=NEAR)


async def test_pictures_without_times_that_a_copy_would_disorder_are_refused(tmp_path: Path, films: Films) -> None:
    with pytest.raises(InvalidJob, match="no times of their own"):
        await cut(films("avi"), tmp_path, COPY, COPY)


async def test_a_raw_picture_without_any_time_is_refused_at_once(tmp_path: Path, films: Films) -> None:
    with pytest.raises(InvalidJob, match="unknown timestamp"):
        await cut(films("h264"), tmp_path, COPY, None)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
async def test_a_picture_that_begins_late_gets_no_more_pictures(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / "late.mkv"
    picture = ("-itsoffset", "0.065", "-f", "lavfi", "-i", "testsrc2=s=64x64:r=24:d=2")
    ffmpeg(*picture, "-f", "lavfi", "-i", "sine=d=2", "-c:v", "libx264", "-c:a", "pcm_s16le", str(source))
    bench = bench_in(tmp_path)
    shutil.copy(source, bench.root)
    maps = [{"specifier": "v", "options": X264}, {"specifier": "a", "options": AAC}]
    data = {"sources": ["nas://late.mkv"], "output_maps": maps, "output_file": f"o.{suffix}"}
    made = (await bench.run_task(FfmpegTask(), data)).outputs[f"o.{suffix}"].path
    counted = (
        "ffprobe",
        "-v",
        "error",
        "-count_packets",
        "-select_streams",
        "v",
        "-show_entries",
        "stream=nb_read_packets",
    )
    answer = subprocess.run((*counted, "-of", "csv=p=0", str(made)), capture_output=True, check=True, timeout=60)
    assert int(answer.stdout.strip().strip(b",")) == 48
