"""One film whole, in parts by one worker, and in parts by two, each worker held to one core.

    python -m benchmarks parts [--seconds 30] [--part 5] [--vmaf FFMPEG]
    python -m benchmarks parts --real [--seconds 180] [--runs whole,parts,two] [--vmaf FFMPEG]
    python -m benchmarks parts --gource [--seconds 60]

The parts and the join are those of the module ffmpeg, without a broker between them: what dividing itself costs. CPU
seconds are those of the tools and of this program, and say more than wall seconds where others share the machine: what
each step of one worker costs is counted in them.

Then a model: the costs that were measured, the real plan, and workers that take parts in order on a clock of its own.
It says what 1 to 1,000 workers would need for a film of two hours, and is first held against what one and two needed.

`--real` takes a film of 1920x1080 instead, a real one repeated, in the parts of "auto" for two workers. It is made
whole, and in parts by one worker whose steps are counted; what two workers need is those steps by two, and, with `two`
among the `--runs`, what two at once take. Each run can be made alone, where a machine is lent for minutes only.
`--gource` takes the film of a repository, in two ranges, and counts in the same way.

Beside that: how good the joined pictures are, most of all near the cuts; and what a script that splits, encodes and
concatenates makes of three sources that parts join exactly.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import host, made
from benchmarks.parts_gource import print_gource
from benchmarks.parts_model import MINUTES_SECONDS, Measured, Spans, by_two, print_minutes, print_model
from benchmarks.parts_peer import PIECE_SECONDS, print_peer
from benchmarks.parts_quality import print_quality
from benchmarks.parts_run import Pinned, spent
from worker.core.job import TaskSpec
from worker.core.parts import Fleet, Plan, in_order
from worker.registry import Registry
from worker.tasks.ffmpeg import FfmpegTask
from worker.testing import TaskBench

if TYPE_CHECKING:
    from collections.abc import Sequence


LONG_SECONDS: Final = 600


def main(options: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parts")
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--part", type=float, default=5, help="seconds of a part; the shortest of auto are 10")
    parser.add_argument("--real", action="store_true", help="a real film of 1920x1080")
    parser.add_argument("--gource", action="store_true", help="a repository's film in two ranges")
    parser.add_argument("--vmaf", default="ffmpeg", help="an ffmpeg with libvmaf, as the wheel imageio-ffmpeg has one")
    parser.add_argument("--runs", default="whole,parts,two", help="of the real film")
    asked = parser.parse_args(options)
    if asked.real:
        asyncio.run(print_real(asked.seconds or MINUTES_SECONDS, asked.runs.split(","), asked.vmaf))
        return
    if asked.gource:
        asyncio.run(print_gource(asked.seconds or 60))
        return
    seconds, part = asked.seconds or 30, asked.part
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = asyncio.run(_table(folder, seconds, part))
        print_quality(
            folder / "root" / "source.mkv", folder / "film-0.mp4", folder / "film-1.mp4", table.cuts, asked.vmaf
        )
        print_steps(table.spans)
        print_model(seconds, part, table.measured)
        print_peer(folder / "root", partial(_divided, folder))


async def print_real(seconds: int, runs: Sequence[str], vmaf: str) -> None:
    """Print what a real film takes whole and in parts, in seconds of CPU, and how good both are."""
    made_as = ("-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-c:a", "aac")
    source = await asyncio.to_thread(made, "film-1080p", seconds, *made_as)
    video = {"codec": "libx264", "preset": "medium", "crf": 26, "threads": 1}
    data = _data(video, "source.mp4", "film.mp4", 2) | {"parts": "auto"}
    print(f"{host()}: {seconds} s of 1920x1080, x264 medium, a thread an encoder, the parts of auto for two workers\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "root").mkdir()
        await asyncio.to_thread(shutil.copyfile, source, folder / "root" / "source.mp4")
        whole = alone = None
        if "whole" in runs:
            (alone, whole, size), _ = await _measured(folder, data, 0)
            each = whole / (seconds * 25) * 1000
            print(f"Whole: {whole:.2f} s of CPU, {alone:.1f} s, {each:.1f} ms a frame, {size} bytes.", flush=True)
        if "parts" in runs:
            (_, cpu, size), spans = await _measured(folder, data, 1)
            if spans is None:
                raise RuntimeError("nothing was made in parts")
            two = by_two(spans)
            print(f"In parts by one worker: {cpu:.2f} s of CPU, {size} bytes; two need {two:.2f} s by the same steps.")
            print_steps(spans)
            if whole is not None:
                print(f"\nOne worker: {cpu / whole:.3f} of the whole run. Two: {whole / two:.2f} times as fast.")
                print_minutes(spans.plain_costs(whole / spans.frames))
                films = (folder / f"film-{workers}.mp4" for workers in (0, 1))
                print_quality(folder / "root" / "source.mp4", *films, spans.cuts, vmaf)
        if "two" in runs:
            (wall, cpu, _), _ = await _measured(folder, data, 2)
            ratio = f", {alone / wall:.2f} times as fast as the whole run" if alone else ""
            print(f"In parts by two workers at once, a core each: {wall:.1f} s{ratio}; {cpu:.2f} s of CPU.", flush=True)


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured: the costs, what each step of one worker took, and where the film was cut."""

    measured: Measured
    spans: Spans
    cuts: tuple[int, ...]


def print_steps(spans: Spans) -> None:
    """Print where one worker's time went."""
    ranges = [seconds for frames, seconds in spans.parts if frames]
    print(f"\nOf one worker's CPU: the plan {spans.plan:.2f} s, {len(ranges)} ranges {sum(ranges):.2f} s, the sound "
          f"{spans.sound:.2f} s, the join {spans.join:.2f} s.")  # fmt: skip


async def _divided(folder: Path, source: Path, output: str) -> Path:
    """Return a film that one worker made in parts of a few seconds."""
    video = {"codec": "libx264", "preset": "veryfast", "crf": 26, "threads": 1}
    data = _data(video, source.name, output, PIECE_SECONDS)
    await _measured(folder, data, 1)
    return folder / "film-1.mp4"


def _data(video: dict[str, Any], source: str, output: str, seconds: float) -> dict[str, Any]:
    return {
        "sources": [f"nas://{source}"],
        "source_maps": [{"specifier": "v"}, {"specifier": "a"}],
        "output_maps": [{"specifier": "v", "options": video}, {"specifier": "a", "options": {"codec": "aac"}}],
        "output_file": output,
        "parts": {"seconds": seconds},
    }


async def _table(folder: Path, seconds: int, part: float) -> Table:
    (folder / "root").mkdir()
    await asyncio.to_thread(_make_source, folder / "root" / "source.mkv", seconds)
    for name, length in (("short.mkv", 60), ("long.mkv", LONG_SECONDS)):
        await asyncio.to_thread(_make_source, folder / "root" / name, length, "64x36")
    video = {"codec": "libx264", "preset": "medium", "crf": 26, "g": 50, "threads": 1}
    data = _data(video, "source.mkv", "film.mp4", part)
    print(f"{host()}: {seconds} s of 640x360, x264 medium, a thread an encoder, parts of {part:g} s\n")
    print("| | wall s | of the CPU s | of the bytes |\n|---|---|---|---|")
    whole, _ = await _measured(folder, data, 0)
    walls: dict[int, float] = {}
    spans: Spans | None = None
    for count in (0, 1, 2):
        (wall, cpu, size), spent = (whole, None) if count == 0 else await _measured(folder, data, count)
        walls[count] = wall
        spans = spent if count == 1 else spans
        name = "whole, one core" if count == 0 else f"in parts, workers of one core: {count}"
        figures = f"{wall:.1f} ({whole[0] / wall:.2f} times as fast) | {cpu / whole[1]:.3f} | {size / whole[2]:.4f}"
        print(f"| {name} | {figures} |", flush=True)
    if spans is None:
        raise RuntimeError("nothing was made in parts")
    # What a plan and a join cost whatever their length, and for each frame, shows in films of tiny pictures.
    tiny = [
        (await _measured(folder, data | {"sources": [f"nas://{name}"], "parts": {"seconds": 30}}, 1))[1]
        for name in ("short.mkv", "long.mkv")
    ]
    short, long = tiny
    if short is None or long is None:
        raise RuntimeError("a film of tiny pictures was not made in parts")
    return Table(Measured(walls, spans.costs(short, long, whole[1] / (seconds * 25))), spans, spans.cuts)


def _make_source(path: Path, seconds: float, size: str = "640x360") -> None:
    inputs = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}", "-f", "lavfi", "-i", f"sine=d={seconds}")
    coded = ("-vf", "noise=alls=12:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-g", "50")
    subprocess.run(("ffmpeg", "-v", "error", *inputs, *coded, "-pix_fmt", "yuv420p", str(path)), check=True)


async def _measured(folder: Path, data: dict[str, Any], workers: int) -> tuple[tuple[float, float, int], Spans | None]:
    """Return the wall seconds, the CPU seconds of the tools and the bytes of the film; and what each step took."""
    spans = Spans()
    benches = []
    for core in range(max(1, workers)):
        runner = Pinned(dict(os.environ))
        runner.core = core
        benches.append(TaskBench(folder, runner))
    task = FfmpegTask()
    _, params = Registry({"ffmpeg": task}).parse(TaskSpec("ffmpeg", data, ""))
    params = await task.prepare(params, benches[0])
    begun, began = spent(), time.monotonic()
    if workers == 0:
        await task.run(params, benches[0])
    else:
        plan = await task.plan(params, 0, Fleet(workers=2), benches[0])
        if not isinstance(plan, Plan):
            raise RuntimeError(plan.reason)
        spans.cuts = tuple(part.first for part in plan.ranges[1:])
        spans.plan = spent() - begun
        left = in_order(plan.parts)

        async def work(bench: TaskBench) -> None:
            while left:
                part, start = left.pop(0), spent()
                await task.run_part(params, plan, part, bench)
                spans.parts.append((part.frames, spent() - start))

        await asyncio.gather(*(work(bench) for bench in benches))
        made = {name: file.path for bench in benches for name, file in bench.result.outputs.items()}
        joining = spent()
        await task.join(params, plan, {part.index: made[part.file] for part in plan.parts}, benches[0])
        spans.join, spans.frames = spent() - joining, plan.frames
    wall, cpu = time.monotonic() - began, spent() - begun
    made_film = benches[0].result.outputs[data["output_file"]].path.replace(folder / f"film-{workers}.mp4")
    return (wall, cpu, made_film.stat().st_size), spans
