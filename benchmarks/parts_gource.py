"""A repository's film whole, and in two ranges, in seconds of CPU; a worker's programs have one core."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import host
from benchmarks.parts_model import Spans, by_two
from benchmarks.parts_run import Pinned, spent
from infra.clock import build_clock
from visualizers.gource import GourceVisualizer
from worker.adapters.git import GitRepositories
from worker.adapters.host import bundled_tools, find_tools
from worker.core.job import TaskSpec
from worker.core.parts import Fleet, Plan, in_order
from worker.process.runner import ProcessRunner
from worker.registry import Registry
from worker.tasks.visualizer import VisualizerTask
from worker.testing import TaskBench

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMITS: Final = 1500
BEGAN: Final = 1_600_000_000


async def print_gource(seconds: int) -> None:
    """Print what a film of so many seconds takes whole and in ranges."""
    build_clock()
    print(f"{host()}: {seconds} s of 1280x720 at 30, of {COMMITS} commits, a core each worker\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_repository(folder / "origin")
        # A worker proves its clock once, when it starts: that is no part of a film.
        visualizer = GourceVisualizer(cores=1)
        bench, task, _ = _prepared(visualizer, folder, "rehearsal", seconds)
        await task.rehearse(bench)
        begun = spent()
        frames = await _whole(visualizer, folder, seconds)
        whole = spent() - begun
        print(f"Whole: {whole:.2f} s of CPU, {whole / frames * 1000:.1f} ms a frame.", flush=True)
        spans = await _in_ranges(visualizer, folder, seconds)
    one = spans.plan + spans.join + sum(seconds for _, seconds in spans.parts)
    ranges = [seconds for count, seconds in spans.parts if count]
    print(f"In {len(ranges)} ranges by one worker: {one:.2f} s: the plan {spans.plan:.2f} s, the ranges "
          f"{sum(ranges):.2f} s, the join {spans.join:.2f} s.")  # fmt: skip
    two = by_two(spans)
    print(f"One worker: {one / whole:.3f} of the whole run. Two: {two:.2f} s by the same steps, "
          f"{whole / two:.2f} times as fast.")  # fmt: skip


async def _whole(visualizer: GourceVisualizer, folder: Path, seconds: int) -> int:
    bench, task, params = _prepared(visualizer, folder, "whole", seconds)
    await task.run(params, bench)
    frames: int = bench.result.facts["gource"]["frames"]
    return frames


async def _in_ranges(visualizer: GourceVisualizer, folder: Path, seconds: int) -> Spans:
    spans, paths, shares = Spans(), {}, {}
    begun = spent()
    bench, task, params = _prepared(visualizer, folder, "plan", seconds)
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    if not isinstance(plan, Plan):
        raise RuntimeError(plan.reason)  # noqa: TRY004
    for part in plan.named("history"):
        shares[part.file] = bench.shares[part.file]
    spans.plan, spans.frames = spent() - begun, plan.frames
    for part in in_order(plan.parts):
        if part.file in shares:
            # The plan has made it.
            paths[part.index] = shares[part.file]
            continue
        begun = spent()
        bench, task, params = _prepared(visualizer, folder, str(part.index), seconds)
        bench.shares |= shares
        await task.run_part(params, plan, part, bench)
        paths[part.index] = bench.result.outputs[part.file].path
        spans.parts.append((part.frames, spent() - begun))
    begun = spent()
    bench, task, params = _prepared(visualizer, folder, "join", seconds)
    await task.join(params, plan, paths, bench)
    spans.join = spent() - begun
    return spans


def _prepared(
    visualizer: GourceVisualizer, folder: Path, name: str, seconds: int
) -> tuple[TaskBench, VisualizerTask, Any]:
    """Return a bench, the task and its data; the runner's programs have one core, as has the worker."""
    runner = Pinned(dict(os.environ))
    tools = find_tools(dict.fromkeys(("ffmpeg", "ffprobe", "gource", "git")), bundled_tools())
    bench = TaskBench(folder / name, runner, tools=tools)
    repositories = GitRepositories(ProcessRunner(dict(os.environ)), file_roots=(folder,))
    task = VisualizerTask(visualizer, repositories)
    data = {
        "repo_url": f"file://{folder / 'origin'}", "resolution": "1280x720", "--output-framerate": 30,
        "length": seconds, "output": "mp4", "parts": "auto",
    }  # fmt: skip
    _, params = Registry({"gource": task}).parse(TaskSpec("gource", data, ""))
    return bench, task, params


def _make_repository(folder: Path) -> None:
    """Make the history of a project that never was: the same for every run."""
    subprocess.run(("git", "init", "-q", "-b", "main", str(folder)), check=True)
    text = "".join(_commits()).encode()
    subprocess.run(("git", "-C", str(folder), "fast-import", "--quiet"), input=text, check=True)


def _commits() -> Iterator[str]:
    chance = random.Random(2000)  # noqa: S311 - the same film every time
    folders = ("src", "src/core", "src/core/io", "docs", "tests/unit", "tests/system", "web/css", "tools")
    for number in range(COMMITS):
        person = f"person {chance.randint(1, 8)} <p@example.org> {BEGAN + 3600 * number} +0000"
        yield f"commit refs/heads/main\ncommitter {person}\ndata 1\nm\n"
        for _ in range(chance.randint(1, 5)):
            path = f"{chance.choice(folders)}/part{chance.randint(0, 10 + number // 100)}.py"
            text = str(number)
            yield f"M 100644 inline {path}\ndata {len(text)}\n{text}\n"
        yield "\n"
