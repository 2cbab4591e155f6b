"""Watched folders: from the moment a file has settled to its queued job, and what a look at a large folder costs.

python -m benchmarks folders [FILES] [SETTLE]
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.measure import host
from infra.migrations import upgrade
from worker import logs
from worker.adapters.sql import SqlRepository
from worker.app.control import assembled
from worker.app.folder_files import WatchedFiles
from worker.control.intake.folders import put_folder
from worker.control.intake.templates import put_template
from worker.control.intake.watching import FolderWatcher, OneFolder
from worker.core.ports.files import Found
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from worker.control import Control
    from worker.core.location import External

DROPS = 10
FILES = 100_000
SETTLE = 2.0
BATCH = 500
TEMPLATE = {"job": {"tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]}}


class Broker:
    """A broker that takes everything and notes when; what RabbitMQ adds is in the table `overhead`."""

    def __init__(self) -> None:
        self.times: asyncio.Queue[float] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *ended: object) -> None:
        """Nothing is held."""

    async def publish_job(self, *_: Any, **__: Any) -> None:
        """Note when."""
        self.times.put_nowait(time.monotonic())

    async def require_fleet(self, identity: str) -> None:
        """The broker is ours."""

    async def publish_event(self, change: Any) -> None:
        """Nobody listens."""


def main(options: Sequence[str] = ()) -> None:
    """Print both tables; the goal is two seconds."""
    files = int(options[0]) if options else FILES
    settle = float(options[1]) if len(options) > 1 else SETTLE
    print(host())
    logs.for_commands()
    asyncio.run(_drops(settle))
    asyncio.run(_looks(files))


@asynccontextmanager
async def _inbox(settle: float) -> AsyncIterator[tuple[Path, Control, WatchedFiles, Broker]]:
    with tempfile.TemporaryDirectory() as text:
        root = Path(text) / "nas"
        (root / "inbox").mkdir(parents=True)
        url = f"sqlite:///{text}/rows.db"
        upgrade(url)
        settings = load(database_url=url, nas_root=root, storage_url="nas://out/", scratch=Path(text) / "scratch")
        repository, broker = SqlRepository(url), Broker()
        control = replace(assembled(settings, repository), broker=lambda: broker)
        there = WatchedFiles.of(settings, repository)
        await put_template(control, "look", TEMPLATE)
        await put_folder(
            control, there, "inbox", {"place": "nas://inbox", "template": "look", "settle_seconds": settle}
        )
        try:
            yield root / "inbox", control, there, broker
        finally:
            await repository.close()


async def _drops(settle: float) -> None:
    async with _inbox(settle) as (folder, control, there, broker):
        watching = asyncio.create_task(FolderWatcher(control, there, "benchmark").run())
        took = []
        for number in range(DROPS):
            await asyncio.sleep(0.37)
            (folder / f"{number}.mkv").write_bytes(b"film %d" % number)
            dropped = time.monotonic()
            took.append(await broker.times.get() - dropped - settle)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    print(f"\n{DROPS} files dropped one after the other, settled after {settle} s")
    print("| | seconds after it had settled | goal |\n|---|---|---|")
    print(f"| median | {statistics.median(took):.2f} | |\n| slowest | {max(took):.2f} | 2 |", flush=True)


async def _looks(files: int) -> None:
    async with _inbox(3600.0) as (_, control, there, _broker):
        library = control.library()

        async def walk(_self: object, place: External) -> AsyncIterator[tuple[Found, ...]]:
            for first in range(0, files, BATCH):
                last = min(files, first + BATCH)
                yield tuple(Found(place.joined(f"{n // 1000}/{n}.mkv"), n + 1, 0.0, f"{n}") for n in range(first, last))

        type(library).walk = walk  # type: ignore[method-assign]  # what the disk costs is the table of scans
        server = OneFolder(control, there, "benchmark", "inbox")
        stored = await control.stores.folder("inbox")
        if stored is None:
            sys.exit("the folder is gone")
        print(f"\na folder of {files:,} files, listed without a disk\n| look | seconds | peak RSS, MB |\n|---|---|---|")
        for name in ("first, all new", "second, nothing new"):
            began = time.monotonic()
            await server.look(stored.folder)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"| {name} | {time.monotonic() - began:.1f} | {peak:.0f} |", flush=True)
