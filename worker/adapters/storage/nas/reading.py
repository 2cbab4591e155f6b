"""Folders of this host as people look at them: opened name by name, so that no link leads out of a root."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.adapters.storage.nas import files, walking
from worker.adapters.storage.nas.files import nas_errors
from worker.adapters.storage.nas.roots import NasRoots
from worker.adapters.threads import iterated
from worker.core.errors import SourceMissing, StorageUnavailable
from worker.core.location import External, is_speakable
from worker.core.media_types import media_type_of
from worker.core.ports.files import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker.core.ports.files import Found

CHUNK: Final = 256 * 1024


@dataclass(slots=True)
class LocalFile:
    """A regular file, open."""

    descriptor: int
    size: int
    media_type: str
    modified: float
    etag: str
    place: str

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield these bytes; StorageUnavailable when the file is shorter by now."""
        at, end = start, start + length
        while at < end:
            with nas_errors(self.place):
                piece = await asyncio.to_thread(os.pread, self.descriptor, min(CHUNK, end - at), at)
            if not piece:
                raise StorageUnavailable(f"{self.place} became shorter while it was read")
            at += len(piece)
            yield piece

    async def close(self) -> None:
        """Let it go."""
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)


class NasReader:
    """`worker.core.ports.files.FileReader` for `nas` and `file`, inside the same roots as jobs."""

    schemes = frozenset({"file", "nas"})

    def __init__(self, root: Path | None, roots: tuple[Path, ...]) -> None:
        self._roots = NasRoots(root, roots)
        self._folders = tuple(
            External("nas", "", "/") if one == root else External("file", "", f"{one.as_posix().rstrip('/')}/")
            for one in dict.fromkeys(roots)
        )

    @property
    def folders(self) -> tuple[External, ...]:
        """Return the roots."""
        return self._folders

    async def open(self, place: External) -> LocalFile:
        """Return the file, open; RefusedPath for what is no regular file inside the roots."""
        return await asyncio.to_thread(self._open, place)

    def _open(self, place: External) -> LocalFile:
        spot = self._roots.spot(place)
        with nas_errors(place):
            self._roots.require_mounted(spot.root)
            try:
                with files.opened_folder(spot.root, spot.folders) as folder:
                    return _opened(folder, spot.name, place)
            except FileNotFoundError as error:
                raise SourceMissing(f"{place} does not exist") from error

    async def entries(self, folder: External, limit: int) -> tuple[Entry, ...]:
        """Return what is in a folder, folders first; links, devices and hidden names are left out."""
        return await asyncio.to_thread(self._entries, folder, limit)

    def _entries(self, folder: External, limit: int) -> tuple[Entry, ...]:
        spot = self._roots.inside(folder)
        with nas_errors(folder):
            self._roots.require_mounted(spot.root)
            try:
                with files.opened_folder(spot.root, spot.folders) as descriptor:
                    found = _listed(descriptor)
            except FileNotFoundError as error:
                raise SourceMissing(f"{folder} does not exist") from error
        return tuple(sorted(found, key=lambda entry: (not entry.is_folder, entry.name.casefold()))[:limit])

    async def walk(self, folder: External) -> AsyncIterator[tuple[Found, ...]]:
        """Yield the files below a folder in batches."""
        async for batch in iterated(walking.walk(self._roots, folder)):
            yield batch

    async def local(self, place: External) -> Path | None:
        """Return where a file is, every link resolved; RefusedPath outside the roots."""
        spot = await asyncio.to_thread(self._roots.spot, place)
        return spot.path

    async def link(self, place: External, seconds: int) -> str | None:
        """Return None: these files have no other address."""
        del place, seconds
        return None


def _opened(folder: int, name: str, place: External) -> LocalFile:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    files.require_regular(found, place)
    # A pipe that takes the file's place now would block an ordinary open for ever.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        files.require_regular(found, place)
    except BaseException:
        os.close(descriptor)
        raise
    etag = f"{found.st_size:x}-{found.st_mtime_ns:x}"
    return LocalFile(descriptor, found.st_size, media_type_of(name), found.st_mtime, etag, str(place))


def _listed(folder: int) -> list[Entry]:
    # The descriptor only names the folder (O_PATH); reading it takes one of its own.
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        with os.scandir(reading) as entries:
            named = [entry for entry in entries if not entry.name.startswith(".") and is_speakable(entry.name)]
            return [entry for item in named if (entry := _entry(item)) is not None]
    finally:
        os.close(reading)


def _entry(item: os.DirEntry[str]) -> Entry | None:
    try:
        found = item.stat(follow_symlinks=False)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return Entry(item.name, is_folder=True, modified=found.st_mtime)
    if stat.S_ISREG(found.st_mode):
        return Entry(item.name, is_folder=False, bytes=found.st_size, modified=found.st_mtime)
    return None
