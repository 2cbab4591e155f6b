"""A format is the best proved encoder that takes the job's options; the real ffmpeg documents them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from worker.core.errors import CannotServe, InvalidJob
from worker.core.job import TaskSpec
from worker.media.capabilities import Capabilities
from worker.process.runner import ProcessRunner
from worker.registry import Registry
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.hls import HlsTask
from worker.testing import TaskBench

if TYPE_CHECKING:
    from pathlib import Path

NVENC = {"h264_nvenc": True, "libx264": True, "libx265": True, "hevc_nvenc": "no card"}


def bench(folder: Path, encoders: dict[str, bool | str]) -> TaskBench:
    capabilities = Capabilities(proved=True, encoders=encoders, tools={"ffmpeg": True})
    tools = {name: name for name in ("ffmpeg", "ffprobe", "packager")}
    return TaskBench(folder, ProcessRunner({"PATH": os.environ["PATH"]}), tools=tools, capabilities=capabilities)


async def chosen(folder: Path, options: dict[str, Any], *, hw_fallback: bool = False, proved: Any = NVENC) -> str:
    maps = [{"specifier": "v", "options": options}]
    data = {"sources": ["nas://a.mkv"], "output_file": "b.mkv", "output_maps": maps, "hw_fallback": hw_fallback}
    task = FfmpegTask()
    _, params = Registry({"ffmpeg": task}).parse(TaskSpec("ffmpeg", data, ""))
    prepared = await task.prepare(params, bench(folder, proved))
    return str(prepared.output_maps[0].encoder)


async def test_a_format_is_the_best_encoder_that_takes_the_options(tmp_path: Path):
    assert await chosen(tmp_path, {"codec": "h264"}) == "h264_nvenc"
    assert await chosen(tmp_path, {"codec": "h264", "b": "1M"}) == "h264_nvenc"
    assert await chosen(tmp_path, {"codec": "h264", "crf": 23}) == "libx264"
    assert await chosen(tmp_path, {"codec": "h265"}) == "libx265"


async def test_software_stands_in_for_hardware_that_fails_here(tmp_path: Path):
    assert await chosen(tmp_path, {"codec": "hevc_nvenc"}, hw_fallback=True) == "libx265"
    assert await chosen(tmp_path, {"codec": "h264_nvenc"}, hw_fallback=True) == "h264_nvenc"


async def test_a_format_without_an_encoder_here_goes_to_another_worker(tmp_path: Path):
    with pytest.raises(CannotServe, match="encoder:av1"):
        await chosen(tmp_path, {"codec": "av1"})


async def test_options_that_no_encoder_of_the_format_takes_are_the_jobs_fault(tmp_path: Path):
    with pytest.raises(InvalidJob, match="sparkle"):
        await chosen(tmp_path, {"codec": "h264", "sparkle": 1})


def test_a_fallback_moves_a_job_out_of_the_hardwares_lane():
    task = FfmpegTask()
    data = {"sources": ["nas://a.mkv"], "output_file": "b.mkv"}
    named = data | {"output_maps": [{"specifier": "v", "options": {"codec": "h264_nvenc"}}]}
    assert task.requires(task.params.model_validate(named)) == {"tool:ffmpeg", "encoder:h264_nvenc"}
    free = task.params.model_validate(named | {"hw_fallback": True})
    assert task.requires(free) == {"tool:ffmpeg", "encoder:h264"}


async def test_a_ladder_takes_the_best_encoder_of_its_format_and_may_fall_back(tmp_path: Path):
    task = HlsTask()
    requested = [{"height": 240, "codec": "h264"}, {"height": 120, "codec": "hevc"}]
    params = task.params.model_validate({"source": "nas://a.mkv", "renditions": requested})
    assert {"encoder:h264", "encoder:hevc"} < task.requires(params)
    ready = await task.prepare(params, bench(tmp_path, NVENC))
    assert [one.codec for one in ready.renditions] == ["h264_nvenc", "libx265"]
    assert ready.hw_fallback
    assert "encoder:h264_nvenc" not in task.requires(ready)
    named = task.params.model_validate(
        {"source": "nas://a.mkv", "renditions": [{"height": 240, "codec": "h264_nvenc"}]}
    )
    assert not (await task.prepare(named, bench(tmp_path, NVENC))).hw_fallback
