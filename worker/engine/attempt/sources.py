"""Remote sources of divided jobs, fetched once a host: every part that is made there reads the same copy."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from worker.core.errors import DiskFull, MountMissing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from worker.engine.host.scratch import Scratch

FOLDER: Final = "sources"
UNUSED_SECONDS: Final = 900.0
"""So long after its last use a copy goes; the next part of the same film comes sooner."""
_LOOK_SECONDS: Final = 0.2
_LOCK: Final = ".lock"


class SharedSources:
    """Copies below the scratch folder that all workers of a host have; each attempt gets a link of its own.

    A copy that is removed while an attempt reads it stays until that attempt's folder goes.
    """

    def __init__(self, scratch: Path) -> None:
        self._folder = scratch / FOLDER

    def has_any(self) -> bool:
        """Return whether there is anything to find."""
        return self._folder.is_dir()

    async def linked(self, place: str, version: str, into: Path) -> Path | None:
        """Return `into`, a link to the copy of this version of a source; None where there is none."""
        return await asyncio.to_thread(_link, self._path(place, version), into)

    async def fetched(self, place: str, version: str, into: Path, fetch: Callable[[], Awaitable[Path]]) -> Path:
        """Return the source at `into`: a link to the host's copy, which is fetched first where there is none.

        Of several that want one source, one fetches it, and the others wait for it.
        """
        path = self._path(place, version)
        async with self._locked(path):
            if (found := await asyncio.to_thread(_link, path, into)) is not None:
                return found
            made = await fetch()
            await self._keep(made, path)
            return made

    async def keep(self, place: str, version: str, file: Path) -> None:
        """Let others of this host use a source that was fetched to `file`."""
        path = self._path(place, version)
        async with self._locked(path):
            await self._keep(file, path)

    async def _keep(self, file: Path, path: Path) -> None:
        # A file system without links shares nothing.
        with suppress(OSError):
            await asyncio.to_thread(os.link, file, path)

    def _path(self, place: str, version: str) -> Path:
        return self._folder / hashlib.sha256(f"{place}\n{version}".encode()).hexdigest()

    @asynccontextmanager
    async def _locked(self, path: Path) -> AsyncIterator[None]:
        """Hold the lock of a copy, which dies with this process."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        descriptor = os.open(path.with_suffix(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _taken(descriptor):  # noqa: ASYNC110 - another process holds it
                await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def sweep(self, unused_seconds: float = UNUSED_SECONDS) -> int:
        """Remove the copies that nobody used for so long, and their locks; return how many copies."""
        if not self._folder.is_dir():
            return 0
        latest = time.time() - unused_seconds
        removed = 0
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path.suffix == _LOCK or path.stat().st_atime > latest:
                    continue
                path.unlink()
                removed += 1
        if not any(path.suffix != _LOCK for path in self._folder.iterdir()):
            # A lock that somebody holds has no copy yet, and its holder makes the folder anew for the next.
            shutil.rmtree(self._folder, ignore_errors=True)
        return removed


def sweep_sources(scratch: Scratch) -> None:
    """Remove shared sources that nobody used for long, and all of them where a job has no room in scratch."""
    sources = SharedSources(scratch.root)
    sources.sweep()
    try:
        scratch.check()
    except DiskFull:
        sources.sweep(0.0)
    except MountMissing:
        return


def _link(path: Path, into: Path) -> Path | None:
    """Return `into`, a link to `path`, whose use is noted; None where there is nothing to link to."""
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, into)
        os.utime(path)
    except OSError:
        return into if into.exists() else None
    return into


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
