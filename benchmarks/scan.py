"""`python -m benchmarks scan`: a large library scanned cold and again warm: seconds, statements, memory."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.measure import host
from infra.migrations import upgrade
from worker.adapters.sql import SqlRepository
from worker.adapters.storage.nas.reading import NasReader
from worker.control import Control
from worker.control.intake.compiler import compile_template
from worker.control.intake.library import Library
from worker.control.intake.scan import pattern_of, scan
from worker.control.intake.sources import PROBES_AT_ONCE
from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.probe import probe_command
from worker.process.runner import ProcessRunner

if TYPE_CHECKING:
    from worker.core.location import External

PROBES = 11
TEMPLATE = {"promise": ["video.codec == 'hevc'"], "job": {"tasks": []}}
FILM = MediaInfo("matroska,webm", 60.0, 0.0, 1000, 8000, (StreamInfo(0, "video", "h264", width=1920, height=1080),))


class Probed(Library):
    """A library whose files need no ffprobe: its seconds would hide everything else, and are measured alone."""

    async def probe(self, place: External) -> MediaInfo:
        """Return the same film for every file."""
        del place
        return FILM


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks scan")
    parser.add_argument("--files", type=int, default=100_000)
    files = parser.parse_args(arguments).files
    with tempfile.TemporaryDirectory(prefix="leveret-scan-") as folder:
        asyncio.run(measure(Path(folder), files))
    return 0


async def measure(folder: Path, files: int) -> None:
    root = folder / "nas"
    for number in range(files):
        if number % 1000 == 0:
            (root / "in" / f"{number // 1000}").mkdir(parents=True)
        (root / "in" / f"{number // 1000}" / f"{number}.mkv").write_text(str(number))
    url = f"sqlite:///{folder / 'scan.db'}"
    upgrade(url)
    stores = SqlRepository(url)
    reader = NasReader(root, (root,))
    library = Probed({"nas": reader}, {}, None, str, folder)  # type: ignore[arg-type]  # it starts no program
    control = Control(stores, None, None, 30.0, library=lambda: library)  # type: ignore[arg-type]  # nor a broker
    blueprint = compile_template("bench", 1, TEMPLATE)
    statements = [0]

    def count(*_: object) -> None:
        statements[0] += 1

    event.listen(Engine, "before_cursor_execute", count)
    a_probe = await probe_seconds(folder)
    print(host())
    print(f"{files} files, SQLite; an ffprobe of a film of a second takes {a_probe:.3f} s, which is added below:")
    print(f"with {PROBES_AT_ONCE} at once, and so many files, {a_probe * files / PROBES_AT_ONCE:.0f} s at best")
    for name in ("cold", "warm"):
        statements[0] = 0
        begun, memory = time.perf_counter(), peak()
        found = await scan(control, blueprint, pattern_of("nas://in"), {})
        seconds = time.perf_counter() - begun
        assert found.media == files
        rate = files / seconds
        print(f"{name}: {seconds:.1f} s ({rate:.0f} files/s), {statements[0]} statements, +{peak() - memory:.0f} MiB")
        if name == "cold":
            share = seconds / (seconds + a_probe * files / PROBES_AT_ONCE)
            print(f"of a cold scan with its probes, at most {share:.0%} is Leveret")
    await stores.close()


async def probe_seconds(folder: Path) -> float:
    """Return the seconds that an ffprobe takes of a small film, alone: the middle of several."""
    film = folder / "film.mkv"
    source = ("-f", "lavfi", "-i", "testsrc2=s=320x180:d=1")
    await asyncio.to_thread(subprocess.run, ("ffmpeg", "-v", "error", *source, str(film)), check=True, timeout=60)
    runner, took = ProcessRunner(dict(os.environ)), []
    for _ in range(PROBES):
        begun = time.perf_counter()
        (exit_,) = await runner.run(probe_command("ffprobe", film), timeout=60)
        took.append(time.perf_counter() - begun)
        assert exit_.ok
    return statistics.median(took)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
