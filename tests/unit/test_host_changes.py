"""A host that became another one is noticed, and another worker takes the old one's place."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from worker.app import worker as app
from worker.app.components import host_facts
from worker.engine.host.changes import HostWatch
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the one folder in which this host looks for programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(folder))
    program(folder / "gource", "old")
    program(folder / "mkvextract", "old")
    return folder


def program(path: Path, says: str) -> None:
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)


def replaced(folder: Path) -> None:
    """Put a program into the other one's place that has its size and its time."""
    old = folder / "mkvextract"
    program(folder / "new", "new")
    os.utime(folder / "new", ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
    (folder / "new").rename(old)


CHANGES: dict[str, Callable[[Path], None]] = {
    "installed": lambda folder: program(folder / "mkvmerge", "1"),
    "upgraded": lambda folder: program(folder / "gource", "a newer one"),
    "replaced": replaced,
    "removed": lambda folder: (folder / "gource").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_program_that_comes_changes_or_goes_is_noticed_while_the_worker_works(change, programs):
    settings, looks = load(), asyncio.Queue()
    loop, noticed = asyncio.get_running_loop(), asyncio.Event()

    def look():
        found = host_facts(settings)
        loop.call_soon_threadsafe(looks.put_nowait, found)
        return found

    proved = host_facts(settings)
    watch = asyncio.create_task(HostWatch(proved, look, noticed.set, seconds=0).run())
    async with asyncio.timeout(10):
        for _ in range(3):
            assert await looks.get() == proved
        assert not noticed.is_set()
        CHANGES[change](programs)
        await watch
    assert noticed.is_set()


async def test_a_host_that_changes_at_every_look_is_not_settled_yet():
    noticed, looks = [], iter([{"n": 1}, None, {"n": 2}, {"n": 3}, {"n": 0}, {"n": 4}, None, {"n": 4}, {"n": 4}])
    left = list(looks)
    await HostWatch({"n": 0}, lambda: left.pop(0), lambda: noticed.append(len(left)), seconds=0).run()
    assert noticed == [0]


async def test_another_worker_begins_until_one_ends_for_good(programs, monkeypatch):
    monkeypatch.setenv("WORKER_BROKER_URL", "amqp://guest:guest@127.0.0.1:1/")
    begun = []

    class Ended:
        def __init__(self) -> None:
            self.is_outdated = len(begun) < 2

        async def run(self) -> None:
            begun.append(self)

        def stop(self) -> None:
            raise AssertionError("nobody asks for it")

    @asynccontextmanager
    async def assembled(*_, **__) -> AsyncIterator[Ended]:
        yield Ended()

    monkeypatch.setattr(app, "assembled", assembled)
    await app.run_worker(load())
    assert len(begun) == 3
