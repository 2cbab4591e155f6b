"""Broken media to the modules that read it, with the real tools: an error of ours, or an output that is whole."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.adapters.host import bundled_tools, find_tools
from worker.core.command import Pipeline
from worker.core.errors import Infrastructure, LeveretError
from worker.process.runner import ProcessRunner
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.hls import HlsTask
from worker.tasks.mkvmerge import MkvmergeTask
from worker.tasks.probe import ProbeTask
from worker.tasks.thumbnail import ThumbnailTask
from worker.testing import BenchResult, TaskBench

from .mutations import KINDS, NEVER, ZEROS, make_seeds, mutate

if TYPE_CHECKING:
    from worker.core.command import Exit
    from worker.core.task import Task

TOOLS = ("ffmpeg", "ffprobe", "packager", "mkvmerge")
STALL_SECONDS = 20.0
STOP_SECONDS = 400.0
AT_ONCE = 2
SLACK_SECONDS = 1.05
X264 = {"codec": "libx264", "preset": "ultrafast"}


@dataclass(frozen=True, slots=True)
class Use:
    """One way to read a source: the task, its data, how often it is drawn, and whether it encodes anew."""

    task: Task[Any]
    data: dict[str, Any]
    weight: int
    encodes: bool = True


def uses(source: str) -> dict[str, Use]:
    """Return what is done with `nas://source`, by name."""
    place = f"nas://{source}"
    maps = {"sources": [place], "source_maps": [{"specifier": "v", "stream": 0}], "output_file": "out.mkv"}
    both = maps | {"source_maps": [*maps["source_maps"], {"specifier": "a", "stream": 0}]}  # type: ignore[misc]
    video, audio = {"specifier": "v", "stream": 0}, {"specifier": "a", "stream": 0}
    copy = {"options": {"codec": "copy"}}
    encoded = [video | {"options": X264}, audio | {"options": {"codec": "aac"}}]
    return {
        "ffmpeg": Use(FfmpegTask(), maps | {"output_maps": [video | {"options": X264}]}, 25),
        "ffmpeg with sound": Use(FfmpegTask(), both | {"output_maps": encoded, "output_file": "out.mp4"}, 15),
        "ffmpeg copying": Use(FfmpegTask(), maps | {"output_maps": [video | copy]}, 10, encodes=False),
        "hls": Use(HlsTask(), {"source": place, "renditions": [{"height": 90}], "destination": "film/"}, 12),
        "probe": Use(ProbeTask(), {"source": place, "output_file": "facts.json"}, 8, encodes=False),
        "thumbnail": Use(ThumbnailTask(), {"source": place, "output_file": "poster.jpg"}, 15),
        "mkvmerge": Use(
            MkvmergeTask(), {"sources": [place], "tracks": [{"track": 0}], "output_file": "out.mkv"}, 15, encodes=False
        ),
    }


@dataclass
class BrokenMedia:
    """`count` mutations from `seed`, each given to one module; what ends neither well nor with a reason is a breach."""

    folder: Path
    count: int
    seed: int
    zeros: tuple[int, ...] = ZEROS
    breaches: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    carried: int = 0
    slowest: tuple[float, str] = (0.0, "")
    took: float = 0.0

    async def run(self) -> list[str]:
        """Return every breach."""
        started = time.monotonic()
        self._seeds = await asyncio.to_thread(make_seeds, self.folder / "seeds")
        self._tools = find_tools(dict.fromkeys(TOOLS), bundled_tools())
        self._runner = ProcessRunner(dict(os.environ))
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with turn:
                await self._case(number)

        await asyncio.gather(*(one(number) for number in range(self.count)))
        self.breaches += await asyncio.to_thread(self._leaked)
        self.took = time.monotonic() - started
        return self.breaches

    async def _case(self, number: int) -> None:
        dice = random.Random(f"{self.seed} {number}")
        folder = self.folder / f"case-{number}"
        bench = TaskBench(folder, self._runner, tools=self._tools, stall_seconds=STALL_SECONDS)
        kind = KINDS[number % len(KINDS)]
        # What a playlist might lead to.
        (bench.root / "clip.mkv").write_bytes(self._seeds["clip.mkv"])
        source = await asyncio.to_thread(mutate, kind, self._seeds, dice, bench.root, self.zeros)
        ways = uses(source)
        name = dice.choices(list(ways), [use.weight for use in ways.values()])[0]
        label = f"case {number}, {kind}, {source} to {name}"
        begun = time.monotonic()
        fault = await self._tried(bench, ways[name], kind, source)
        self.kinds[kind] += 1
        self.slowest = max(self.slowest, (time.monotonic() - begun, label))
        if fault:
            self.breaches.append(f"{label}: {fault}")
        else:
            await asyncio.to_thread(shutil.rmtree, folder)

    async def _tried(self, bench: TaskBench, use: Use, kind: str, source: str) -> str:
        """Return what is wrong with the end of a task, empty when nothing is."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                result = await bench.run_task(use.task, use.data)
        except TimeoutError:
            return f"hangs: {STOP_SECONDS:.0f} s"
        except Infrastructure as error:
            return f"a broken source counts as a sick host: {error!r}"
        except LeveretError as error:
            self.outcomes[type(error).__name__] += 1
            return "" if str(error) and "\n" not in str(error) else f"has a bad message: {error!r}"
        except Exception:  # noqa: BLE001 - what a task raises and is no error of ours is what is sought
            return f"crashes: {traceback.format_exc(limit=-4)}"
        self.outcomes["whole output"] += 1
        if kind in NEVER:
            return f"became {sorted(result.outputs)}"
        return await self._judge(bench, use, result, bench.root / source)

    async def _judge(self, bench: TaskBench, use: Use, result: BenchResult, source: Path) -> str:
        """Return what is wrong with the outputs, read to their end by ffmpeg, and held against their source."""
        probed = await bench.probe(source)
        lengths = [length for length in (probed.duration, *(stream.duration for stream in probed.streams)) if length]
        media = {place: item for place, item in result.outputs.items() if place.endswith((".mkv", ".mp4", ".jpg"))}
        if result.manifest:
            media = {result.manifest: result.outputs[result.manifest]}
        published = bench.root.parent / "published"
        for place, item in result.outputs.items():
            (published / place).parent.mkdir(parents=True, exist_ok=True)
            (published / place).hardlink_to(item.path)
        for place, item in media.items():
            path, length = published / place, item.duration
            if path.suffix != ".m3u8":
                try:
                    length = (await bench.probe(path)).duration
                except LeveretError as error:
                    return f"{path.name} is no media: {error}"
            near = [one for one in lengths if abs(one - (length or 0)) <= SLACK_SECONDS]
            if path.suffix != ".jpg" and lengths and not near:
                return f"{path.name} lasts {length} s, and its source {lengths}"
            exit_ = await self._read(path)
            if use.encodes and (exit_.tail or not exit_.ok):
                return f"{path.name} does not decode: {exit_} {exit_.tail[-300:]}"
            if exit_.tail and not use.encodes:
                # A copy is as good as its source: whole, with the same damage inside its frames.
                self.carried += 1
                if not (exit_ := await self._read(path, "-c", "copy")).ok:
                    return f"{path.name} cannot be read to its end: {exit_}"
        return ""

    async def _read(self, path: Path, *codec: str) -> Exit:
        """Return how ffmpeg ended that read a file, and decoded it unless it copies; complaints are the tail."""
        allowed = ("-allowed_extensions", "ALL") if path.suffix == ".m3u8" else ()
        argv = (self._tools["ffmpeg"], "-nostdin", "-v", "error", *allowed, "-i", f"file:{path}", "-map", "0", *codec)
        (exit_,) = await self._runner.run(Pipeline.of(*argv, "-f", "null", "-"), timeout=STOP_SECONDS)
        return exit_

    def _leaked(self) -> list[str]:
        """Return the programs that are still at work for a case."""
        mark = str(self.folder).encode()
        found = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and mark in _words(entry)]
        return [f"process {name} is left" for name in found if int(name) != os.getpid()]

    def table(self) -> str:
        """Return the outcome as a table in Markdown."""
        rows = [
            ("seed", str(self.seed)),
            ("files", str(self.count)),
            ("seconds", f"{self.took:.0f}"),
            *((f"· {kind}", str(number)) for kind, number in sorted(self.kinds.items())),
            *((f"ended with {name}", str(number)) for name, number in sorted(self.outcomes.items())),
            ("copies that carry damage of their source", str(self.carried)),
            ("slowest", f"{self.slowest[0]:.1f} s: {self.slowest[1]}"),
            ("crashes, hangs, broken outputs, leaks", str(len(self.breaches))),
        ]
        return "\n".join(["| broken media | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _words(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
