"""DVB subtitles of a transport stream, which are pictures: copied where they can be, text nowhere, in nobody's way."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_lengths import length, run
from tests.support.bitmaps import broadcast
from tests.support.media import bench_in
from worker.core.errors import BadInput, InvalidJob
from worker.tasks.ffmpeg import FfmpegTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import BenchResult

COPY = {"codec": "copy"}


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return broadcast(tmp_path)


async def made_of(film: Path, output: str, codec: str) -> BenchResult:
    bench = bench_in(film.parent / "bench")
    shutil.copy(film, bench.root)
    maps: list[dict[str, Any]] = [{"specifier": kind, "options": COPY} for kind in "va"]
    maps.append({"specifier": "s", "options": {"codec": codec}})
    asked = {"sources": [f"nas://{film.name}"], "source_maps": [{}], "output_file": output, "output_maps": maps}
    return await bench.run_task(FfmpegTask(), asked)


@pytest.mark.parametrize(("output", "codec"), [("o.ts", "copy"), ("o.mkv", "copy")])
async def test_dvb_subtitles_are_copied(film: Path, output: str, codec: str) -> None:
    result = await made_of(film, output, codec)
    made = await bench_in(film.parent / "probe").probe(result.outputs[output].path)
    assert [(stream.codec, stream.language) for stream in made.subtitles] == [("dvb_subtitle", "eng")]


@pytest.mark.parametrize(("output", "codec"), [("o.mp4", "mov_text"), ("o.mkv", "srt"), ("o.mp4", "copy")])
async def test_dvb_subtitles_become_no_text_and_the_job_is_dead_at_once(film: Path, output: str, codec: str) -> None:
    with pytest.raises((InvalidJob, BadInput)):
        await made_of(film, output, codec)


@pytest.mark.parametrize("module", ["ffmpeg", "hls", "handbrake", "mkvmerge", "waveform", "thumbnail"])
async def test_a_recording_with_dvb_subtitles_is_taken_without_them(module: str, film: Path, tmp_path: Path) -> None:
    result = await run(module, film, tmp_path / "run")
    assert module == "thumbnail" or length(result) == pytest.approx(4, abs=0.3)
    assert module != "hls" or any("that are pictures were left out" in warning for warning in result.warnings)
