"""Teletext in a transport stream: copied into another, refused by name elsewhere, and in the way of nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_lengths import length, run
from tests.support.broadcasts import recording
from tests.support.media import bench_in
from tests.support.teletext import with_teletext
from worker.core.errors import InvalidJob
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.mkvmerge import MkvmergeTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import BenchResult

COPY = {"codec": "copy"}


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return with_teletext(recording(tmp_path / "plain.ts", seconds=4), tmp_path / "film.ts")


async def made_of(film: Path, output: str, options: dict[str, Any], **data: Any) -> BenchResult:
    bench = bench_in(film.parent / "bench")
    shutil.copy(film, bench.root)
    maps = [{"specifier": "v", "options": COPY}, {"specifier": "a", "options": COPY}]
    asked = {"sources": ["nas://film.ts"], "source_maps": [{}], "output_file": output, "output_maps": maps} | data
    if options:
        asked["output_maps"] = [*maps, {"specifier": "s", "options": options}]
    return await bench.run_task(FfmpegTask(), asked)


async def test_teletext_is_copied_into_a_transport_stream(film: Path) -> None:
    result = await made_of(film, "o.ts", COPY)
    made = await bench_in(film.parent / "probe").probe(result.outputs["o.ts"].path)
    assert [stream.codec for stream in made.subtitles] == ["dvb_teletext"]


@pytest.mark.parametrize(
    ("output", "codec"),
    [
        ("o.mkv", "copy"),
        ("o.mp4", "copy"),
        ("o.mkv", "srt"),
        ("o.mp4", "mov_text"),
        ("o.ts", "dvbsub"),
        ("o.mkv", "dvbsub"),
    ],
)
async def test_teletext_that_would_become_something_else_is_refused_by_name(
    film: Path, output: str, codec: str
) -> None:
    with pytest.raises(InvalidJob, match=r"stream \d of film.ts is teletext"):
        await made_of(film, output, {"codec": codec})


async def test_teletext_is_not_drawn_into_a_picture(film: Path) -> None:
    drawn = {"specifier": "v", "options": {"codec": "libx264", "preset": "ultrafast"}, "burn": {"stream": 0}}
    maps = {"source_maps": [{"specifier": "v"}], "output_maps": [drawn]}
    with pytest.raises(InvalidJob):
        await made_of(film, "o.mp4", {}, **maps)


async def test_mkvmerge_makes_a_text_of_teletext(film: Path, tmp_path: Path) -> None:
    bench = bench_in(tmp_path / "bench")
    shutil.copy(film, bench.root)
    tracks = [{"track": number} for number in range(3)]
    asked = {"sources": ["nas://film.ts"], "tracks": tracks, "output_file": "o.mkv"}
    result = await bench.run_task(MkvmergeTask(), asked)
    made = await bench.probe(result.outputs["o.mkv"].path)
    assert [stream.codec for stream in made.subtitles] == ["subrip"]


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "handbrake", "mkvmerge", "waveform", "thumbnail"])
async def test_a_recording_with_teletext_is_taken_without_it(module: str, film: Path, tmp_path: Path) -> None:
    result = await run(module, film, tmp_path / "run")
    assert module == "thumbnail" or length(result) == pytest.approx(4, abs=0.3)
