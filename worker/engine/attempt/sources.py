"""Remote sources of divided jobs, fetched once a host: every part that is made there reads the same copy."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from worker.core.errors import DiskFull, MountMissing
from worker.engine.attempt.locks import LOCK, held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from worker.engine.host.scratch import Scratch

FOLDER: Final = "sources"
UNUSED_SECONDS: Final = 900.0
"""A copy is removed so long after its last use; the next part of the same film comes sooner."""


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
        return await asyncio.to_thread(_link, self.path(place, version), into)

    async def fetched(self, place: str, version: str, into: Path, fetch: Callable[[], Awaitable[Path]]) -> Path:
        """Return the source at `into`: a link to the host's copy, which is fetched first where there is none.

        Of several that want one source, one fetches it, and the others wait for it.
        """
        path = self.path(place, version)
        async with held(path):
            if (found := await asyncio.to_thread(_link, path, into)) is not None:
                return found
            made = await fetch()
            await self._keep(made, path)
            return made

    async def keep(self, place: str, version: str, file: Path) -> None:
        """Let others of this host use a source that was fetched to `file`."""
        path = self.path(place, version)
        async with held(path):
            await self._keep(file, path)

    async def _keep(self, file: Path, path: Path) -> None:
        # A file system without links shares nothing.
        with suppress(OSError):
            await asyncio.to_thread(os.link, file, path)

    def path(self, place: str, version: str) -> Path:
        """Return where the copy of a version of a source is."""
        return self._folder / hashlib.sha256(f"{place}\n{version}".encode()).hexdigest()

    def sweep(self, unused_seconds: float = UNUSED_SECONDS) -> int:
        """Remove the copies that nobody used for so long, and their locks; return how many copies."""
        if not self._folder.is_dir():
            return 0
        latest = time.time() - unused_seconds
        removed = 0
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path.suffix == LOCK or max((found := path.stat()).st_atime, found.st_mtime) > latest:
                    continue  # the second is that of a copy to which bytes are still added
                path.unlink()
                removed += not path.suffix  # one with a suffix says what is in a copy
        if not any(path.suffix != LOCK for path in self._folder.iterdir()):
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
