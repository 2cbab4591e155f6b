"""A source that is damaged within is refused, or accepted where its job says so; then the record says what was lost."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.broadcasts import half, packet_lost, recording
from tests.support.media import bench_in, clip
from visualizers.waveform import WaveformVisualizer
from worker.core.errors import BadInput
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.handbrake import HandbrakeTask
from worker.tasks.hls import HlsTask
from worker.tasks.mkvmerge import MkvmergeTask
from worker.tasks.thumbnail import ThumbnailTask
from worker.tasks.visualizer import VisualizerTask
from worker.testing.fakes import NoRepositories

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import Task
    from worker.testing import BenchResult

X264 = {"codec": "libx264", "preset": "ultrafast"}
MAPS = {"source_maps": [{"specifier": "v"}, {"specifier": "a"}]}
ENCODED = [{"specifier": "v", "options": X264}, {"specifier": "a", "options": {"codec": "aac"}}]
QUIET = {"renditions": [{"height": 90}], "poster": False, "storyboard": False}
MAKERS: dict[str, tuple[Task[Any], dict[str, Any]]] = {
    "ffmpeg": (FfmpegTask(), {"sources": ["nas://lost.ts"], **MAPS, "output_maps": ENCODED, "output_file": "o.mkv"}),
    "a copy": (
        FfmpegTask(),
        {"sources": ["nas://lost.ts"], "output_maps": [{"options": {"codec": "copy"}}], "output_file": "o.mkv"},
    ),
    "hls": (HlsTask(), {"source": "nas://lost.ts", **QUIET}),
    "thumbnail": (ThumbnailTask(), {"source": "nas://lost.ts", "output_file": "o.png", "time": 1.5}),
}


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lost")
    return packet_lost(recording(folder / "whole.ts", seconds=2), folder / "lost.ts")


async def made(lost: Path, folder: Path, task: Task[Any], data: dict[str, Any]) -> BenchResult:
    bench = bench_in(folder)
    shutil.copy(lost, bench.root)
    return await bench.run_task(task, data)


@pytest.mark.parametrize("name", MAKERS)
async def test_damage_is_refused_unless_the_job_accepts_it(name: str, lost: Path, tmp_path: Path) -> None:
    task, data = MAKERS[name]
    with pytest.raises(BadInput, match=r'is damaged or cut short: .*Packet corrupt.*; "damage": "accept"'):
        await made(lost, tmp_path, task, data)
    (tmp_path / "accepted").mkdir()
    result = await made(lost, tmp_path / "accepted", task, data | {"damage": "accept"})
    assert result.outputs
    assert any("is damaged: [mpegts] Packet corrupt" in warning for warning in result.warnings)
    reported = result.facts["damage"]
    assert isinstance(reported, dict)
    assert reported["count"] >= 1
    assert "Packet corrupt" in reported["complaints"][0]


@pytest.mark.parametrize(
    ("task", "data"),
    [
        (HandbrakeTask(), {"source": "nas://lost.ts", "output_file": "o.mkv"}),
        (
            MkvmergeTask(),
            {"sources": ["nas://lost.ts"], "tracks": [{"track": 0}, {"track": 1}], "output_file": "o.mkv"},
        ),
    ],
    ids=["handbrake", "mkvmerge"],
)
async def test_a_task_that_reads_past_a_lost_packet_says_so(
    task: Task[Any], data: dict[str, Any], lost: Path, tmp_path: Path
) -> None:
    result = await made(lost, tmp_path, task, data)
    assert any("lost.ts is damaged: [mpegts] Packet corrupt" in warning for warning in result.warnings)


async def test_a_waveform_of_a_sound_that_is_damaged_within_is_drawn_where_that_is_accepted(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mka", picture="", extra=("-c:a", "flac"))
    content = bytearray(whole.read_bytes())
    # within a frame: ffmpeg 9 ends where the head of a block is broken
    frame = content.index(b"\xff\xf8", len(content) // 2)
    content[frame + 40 : frame + 60] = bytes(20)
    (tmp_path / "lost.mka").write_bytes(content)
    task = VisualizerTask(WaveformVisualizer(), NoRepositories())
    data = {"source": "nas://lost.mka", "resolution": "160x90", "output": "mp4", "max_seconds": 2}
    with pytest.raises(BadInput, match="damaged"):
        await made(tmp_path / "lost.mka", tmp_path, task, data)
    (tmp_path / "accepted").mkdir()
    result = await made(tmp_path / "lost.mka", tmp_path / "accepted", task, data | {"damage": "accept"})
    assert any("is damaged" in warning for warning in result.warnings)


async def test_a_source_that_is_cut_short_is_refused_whatever_damage_is_accepted(tmp_path: Path) -> None:
    cut = half(clip(tmp_path / "film.mkv"), tmp_path / "cut.mkv")
    data = {"sources": ["nas://cut.mkv"], **MAPS, "output_maps": ENCODED, "output_file": "o.mkv", "damage": "accept"}
    with pytest.raises(BadInput, match="cut short"):
        await made(cut, tmp_path, FfmpegTask(), data)
