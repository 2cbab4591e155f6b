"""What a source states of its length is measured where it may be wrong, and every module comes to one verdict."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.broadcasts import clock_moved, half, recording, trimmed_opus
from tests.support.media import bench_in, clip, ffmpeg
from tests.support.odd_files import FILES
from visualizers.waveform import WaveformVisualizer
from worker.core.errors import BadInput
from worker.media.head import HEAD_BYTES, is_unfinished, stated_bytes
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.handbrake import HandbrakeTask
from worker.tasks.hls import HlsTask
from worker.tasks.mkvmerge import MkvmergeTask
from worker.tasks.probe import ProbeTask
from worker.tasks.thumbnail import ThumbnailTask
from worker.tasks.visualizer import VisualizerTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import Task
    from worker.testing import BenchResult

QUIET = {"poster": False, "storyboard": False, "renditions": [{"height": 90}]}
FAST = {"specifier": "v", "options": {"codec": "libx264", "preset": "ultrafast", "vf": "yadif"}}
AAC = {"specifier": "a", "options": {"codec": "aac"}}
MAPS = [{"source": 0, "specifier": kind, "stream": 0} for kind in "va"]


class NoRepositories:
    """No clones here."""


def task_of(module: str) -> Task[Any]:
    """Return a module's task."""
    tasks: dict[str, Task[Any]] = {
        "ffmpeg": FfmpegTask(), "hls": HlsTask(), "handbrake": HandbrakeTask(), "mkvmerge": MkvmergeTask(),
        "probe": ProbeTask(), "thumbnail": ThumbnailTask(),
        "waveform": VisualizerTask(WaveformVisualizer(), NoRepositories()),  # type: ignore[dict-item,arg-type]
    }  # fmt: skip
    return tasks[module]


def data_of(module: str, source: str, *, picture: bool = True) -> dict[str, Any]:
    """Return the data of a job on `source`, whose picture is left out where it has none."""
    place = f"nas://{source}"
    tracks = [{"track": number} for number in range(1 + picture)]
    waves = {"resolution": "160x90", "framerate": 25, "output": "mp4", "thumbnail": False}
    maps, streams = (MAPS, [FAST, AAC]) if picture else (MAPS[1:], [AAC])
    return {
        "ffmpeg": {"sources": [place], "source_maps": maps, "output_maps": streams, "output_file": "o.mp4"},
        "hls": {"source": place, **QUIET} if picture else {"source": place},
        "handbrake": {"source": place, "output_file": "o.mp4", "video_options": {"encoder": "x264"}},
        "mkvmerge": {"sources": [place], "tracks": tracks, "output_file": "o.mkv"},
        "waveform": {"source": place, **waves},
        "thumbnail": {"source": place, "output_file": "o.png"},
        "probe": {"source": place, "output_file": "o.json"},
    }[module]


async def run(module: str, source: Path, folder: Path, *, picture: bool = True) -> BenchResult:
    bench = bench_in(folder)
    shutil.copy(source, bench.root)
    return await bench.run_task(task_of(module), data_of(module, source.name, picture=picture))


def length(result: BenchResult) -> float | None:
    """Return the seconds of what was made."""
    return next((item.duration for item in result.outputs.values() if item.duration), None)


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "handbrake", "mkvmerge", "waveform", "probe"])
@pytest.mark.parametrize("hours", [1, -1, 10])
async def test_a_recording_whose_clock_jumps_is_joined_and_the_jump_is_named(
    module: str, hours: int, tmp_path: Path
) -> None:
    source = clock_moved(recording(tmp_path / "whole.ts", seconds=4), tmp_path / "jumps.ts", hours * 3600)
    result = await run(module, source, tmp_path)
    assert length(result) == pytest.approx(4, abs=0.7)
    direction = "by" if hours > 0 else "back by"
    assert any(f"jumps {direction} {abs(hours) * 3600:.1f} s" in warning for warning in result.warnings)


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "waveform"])
async def test_a_chained_ogg_lasts_as_long_as_all_its_pieces(module: str, tmp_path: Path) -> None:
    result = await run(module, FILES["chained.ogg"](tmp_path / "chained.ogg"), tmp_path, picture=False)
    assert length(result) == pytest.approx(1, abs=0.1)
    # ffmpeg 9 joins the pieces by itself, and tells of no jump
    assert all("jumps back by 0.5 s after 0.5 s" in warning for warning in result.warnings)


async def test_a_sound_whose_last_packets_have_no_times_is_drawn_whole(tmp_path: Path) -> None:
    result = await run("waveform", FILES["dvd.vob"](tmp_path / "dvd.vob"), tmp_path)
    assert length(result) == pytest.approx(1.02, abs=0.05)


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "handbrake", "mkvmerge", "thumbnail"])
@pytest.mark.parametrize("name", ["late.mkv", "late.ts", "late.mp4"])
async def test_a_film_that_starts_late_lasts_as_long_as_its_pictures(module: str, name: str, tmp_path: Path) -> None:
    late = ("-output_ts_offset", "1000")
    source = clip(tmp_path / ("late.mkv" if name == "late.mp4" else name), extra=late)
    if name == "late.mp4":
        source = tmp_path / name
        ffmpeg("-i", str(tmp_path / "late.mkv"), "-c", "copy", "-copyts", str(source))
    result = await run(module, source, tmp_path)
    assert module == "thumbnail" or length(result) == pytest.approx(3, abs=0.2)


CUT = {"mp3": ("libmp3lame",), "flac": ("flac",), "wav": ("pcm_s16le",)}


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "waveform", "mkvmerge", "probe"])
@pytest.mark.parametrize("suffix", CUT)
async def test_half_a_sound_is_bad_input_at_once(module: str, suffix: str, tmp_path: Path) -> None:
    whole = clip(tmp_path / f"whole.{suffix}", picture="", seconds=8, extra=("-c:a", *CUT[suffix]))
    with pytest.raises(BadInput, match=r"cut short|damaged"):
        await run(module, half(whole, tmp_path / f"half.{suffix}"), tmp_path, picture=False)


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "handbrake", "mkvmerge"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv", "avi"])
async def test_half_a_film_is_bad_input_at_once(module: str, suffix: str, tmp_path: Path) -> None:
    fast = ("-g", "12", *(("-movflags", "+faststart") if suffix == "mp4" else ()))
    whole = clip(tmp_path / f"whole.{suffix}", seconds=6, extra=fast)
    with pytest.raises(BadInput, match=r"cut short|damaged|no file that mkvmerge reads"):
        await run(module, half(whole, tmp_path / f"half.{suffix}"), tmp_path)


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "waveform"])
@pytest.mark.parametrize("kind", ["flac without a length", "live webm", "mp3 of a guessed length", "trimmed opus"])
async def test_a_sound_whose_header_states_no_length_is_measured(module: str, kind: str, tmp_path: Path) -> None:
    source = tmp_path / "source.flac"
    match kind:
        case "flac without a length":
            with source.open("wb") as target:
                ffmpeg("-f", "lavfi", "-i", "sine=d=4", "-f", "flac", "-", into=target)
        case "live webm":
            source = tmp_path / "source.webm"
            ffmpeg("-f", "lavfi", "-i", "sine=d=4", "-c:a", "libopus", "-live", "1", "-f", "webm", str(source))
        case "mp3 of a guessed length":
            source = tmp_path / "source.mp3"
            ffmpeg("-f", "lavfi", "-i", "sine=d=4", "-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0", str(source))
        case _:
            source = trimmed_opus(tmp_path / "source.opus", seconds=4, samples=1900)
    result = await run(module, source, tmp_path, picture=False)
    assert length(result) == pytest.approx(4, abs=0.1)


STREAMED: dict[str, tuple[str, ...]] = {
    "wav": ("-c:a", "pcm_s16le"),
    "avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "flv": ("-c:v", "flv1", "-c:a", "libmp3lame", "-output_ts_offset", "3600"),
}


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "waveform"])
@pytest.mark.parametrize("form", STREAMED)
async def test_an_unfinished_header_of_a_pipe_states_no_length(module: str, form: str, tmp_path: Path) -> None:
    source = tmp_path / f"source.{form}"
    picture = () if form == "wav" else ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2")
    with source.open("wb") as target:
        ffmpeg(*picture, "-f", "lavfi", "-i", "sine=d=2:r=44100", *STREAMED[form], "-f", form, "pipe:1", into=target)
    result = await run(module, source, tmp_path, picture=form != "wav")
    assert length(result) == pytest.approx(2, abs=0.1)


def test_a_header_of_64_bits_tells_where_its_file_ends_and_an_unfinished_one_does_not(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.1", "-rf64", "always", str(tmp_path / "long.wav"))
    head = (tmp_path / "long.wav").read_bytes()[:HEAD_BYTES]
    assert stated_bytes(head) == (tmp_path / "long.wav").stat().st_size
    assert not is_unfinished(head)
    for size in (0, 0xFFFF_FFFF, 0x7FFF_F000):
        assert is_unfinished(b"RIFF" + size.to_bytes(4, "little") + b"AVI " + bytes(16))
    assert not is_unfinished(b"RIFX" + (1000).to_bytes(4, "big") + b"WAVE" + bytes(16))
    assert not is_unfinished(b"\x1aE\xdf\xa3" + bytes(24))


@pytest.mark.parametrize("late", [2, 9])
async def test_a_matroska_file_that_mkvmerge_made_to_start_late_has_its_own_length(late: int, tmp_path: Path) -> None:
    film, moved = clip(tmp_path / "film.mkv", seconds=3), tmp_path / "moved.mkv"
    bare = ("--disable-track-statistics-tags", "--no-track-tags")
    subprocess.run(("mkvmerge", "-q", "-o", moved, *bare, "--sync", f"-1:{late * 1000}", film), check=True, timeout=60)
    bench = bench_in(tmp_path)
    shutil.copy(moved, bench.root)
    result = await bench.run_task(HlsTask(), {"source": "nas://moved.mkv", **QUIET})
    made = result.facts["hls"]
    assert isinstance(made, dict)
    assert made["duration"] == pytest.approx(3, abs=0.1)
