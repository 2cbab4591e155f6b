"""A film in parts on a bench, without a fleet: planned, made part by part, joined; and what is shown of films."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.support.media import bench_in
from worker.core.job import TaskSpec
from worker.core.parts import Fleet, Plan, Whole
from worker.registry import Registry
from worker.tasks.ffmpeg import FfmpegTask

if TYPE_CHECKING:
    from pathlib import Path

X264 = {"codec": "libx264", "preset": "ultrafast", "crf": 30}


@dataclass(frozen=True)
class Divided:
    """What became of a job: its plan or why there is none, the joined and the whole film."""

    plan: Plan | Whole
    joined: Path
    whole: Path


async def prepared(folder: Path, data: dict[str, Any]):
    bench, task = bench_in(folder), FfmpegTask()
    _, params = Registry({"ffmpeg": task}).parse(TaskSpec("ffmpeg", data, ""))
    return bench, task, await task.prepare(params, bench)


async def planned(folder: Path, data: dict[str, Any], fleet: Fleet | None = None) -> Plan | Whole:
    """Return the plan of a job, or why it has none."""
    bench, task, params = await prepared(folder, data)
    return await task.plan(params, 0, fleet or Fleet(workers=2), bench)


async def divided(folder: Path, data: dict[str, Any], *, whole: bool = True) -> Divided:
    """Return a film that was planned, made part by part in any order, and joined; and the same job run whole."""
    bench, task, params = await prepared(folder, data)
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    name = data["output_file"]
    if whole:
        await task.run(params, bench)
        made = bench.result.outputs[name].path
        made.rename(folder / f"whole-{name}")
    if isinstance(plan, Whole):
        return Divided(plan, folder / name, folder / f"whole-{name}")
    plan = Plan.of(plan.document())
    for part in reversed(plan.parts):
        await task.run_part(params, plan, part, bench)
    paths = {part.index: bench.result.outputs[part.file].path for part in plan.parts}
    await task.join(params, plan, paths, bench)
    bench.result.outputs[name].path.rename(folder / name)
    return Divided(plan, folder / name, folder / f"whole-{name}")


def shown(path: Path, *entries: str, select: str | None = None) -> dict[str, Any]:
    """Return ffprobe's answer."""
    chosen = ("-select_streams", select) if select else ()
    argv = ("ffprobe", "-v", "error", "-of", "json", *chosen, *entries, str(path))
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def packets(path: Path, select: str = "v:0") -> list[dict[str, Any]]:
    """Return the packets of a stream."""
    return shown(path, "-show_packets", select=select)["packets"]


def pictures(path: Path) -> list[str]:
    """Return the hash of each decoded picture, in the order they are shown."""
    argv = (
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0:V:0",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    )
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [line.rsplit(",", 1)[1].strip() for line in text.splitlines() if not line.startswith("#")]


def steps(path: Path, rate: Fraction) -> None:
    """Assert that pictures are one step apart, in the order they are shown and in the order they are stored."""
    (stream,) = shown(path, "-show_streams", select="v:0")["streams"]
    tick = Fraction(stream["time_base"])
    items = packets(path)
    times = sorted(item["pts"] for item in items)
    coded = [item["dts"] for item in items if "dts" in item]
    for found in (times, coded):
        gaps = {(b - a) * tick for a, b in pairwise(found)}
        assert all(abs(gap - 1 / rate) <= tick for gap in gaps), gaps


def start_of(path: Path, select: str) -> float:
    """Return when a stream is first seen or heard."""
    (stream,) = shown(path, "-show_streams", select=select)["streams"]
    return float(stream["start_time"])


def sound(path: Path) -> bytes:
    """Return the decoded sound, as it would be played from the film's first moment."""
    argv = ("ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0", "-af", "aresample=async=1:first_pts=0")
    done = subprocess.run((*argv, "-f", "s16le", "-ac", "1", "-ar", "48000", "-"), check=True, capture_output=True)
    return done.stdout
