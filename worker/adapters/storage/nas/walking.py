"""All files below a folder, however many: one open folder a level, and few names at a time."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from worker.adapters.storage.nas import files
from worker.adapters.storage.nas.files import nas_errors
from worker.core.errors import MountMissing, SourceMissing
from worker.core.location import is_speakable
from worker.core.ports.files import Found

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from worker.adapters.storage.nas.roots import NasRoots, Spot
    from worker.core.location import External

log = structlog.get_logger(__name__)

BATCH: Final = 500
DEEPEST: Final = 64
"""Levels below the folder, each of which keeps a descriptor open; what is deeper is left out, and logged."""

_READING: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def walk(roots: NasRoots, folder: External) -> Generator[tuple[Found, ...]]:
    """Yield the files below `folder` in batches, named as `folder` is; hidden names, links and devices are left out.

    A folder that is removed meanwhile is no error, a mount that goes away is one: MountMissing, StorageUnavailable.
    """
    spot = roots.inside(folder)
    with nas_errors(folder):
        roots.require_mounted(spot.root)
        batch: list[Found] = []
        with _top(spot, folder) as top:
            for found in _below(top, folder):
                batch.append(found)
                if len(batch) >= BATCH:
                    yield tuple(batch)
                    batch = []
            _require_same(top, spot, folder)
        roots.require_mounted(spot.root)
        if batch:
            yield tuple(batch)


@contextmanager
def _top(spot: Spot, folder: External) -> Iterator[int]:
    try:
        with files.opened_folder(spot.root, spot.folders) as place:
            # The descriptor only names the folder (O_PATH); reading it takes one of its own.
            top = os.open(".", _READING, dir_fd=place)
    except FileNotFoundError as error:
        raise SourceMissing(f"{folder} does not exist") from error
    try:
        yield top
    finally:
        os.close(top)


def _require_same(top: int, spot: Spot, folder: External) -> None:
    """Return if the folder is still the one that was read: what replaces a mount that is gone is another one."""
    was = os.fstat(top)
    try:
        with files.opened_folder(spot.root, spot.folders) as place:
            now = os.fstat(place)
    except FileNotFoundError as error:
        raise MountMissing(f"{folder} went away while it was read") from error
    if (was.st_dev, was.st_ino) != (now.st_dev, now.st_ino):
        raise MountMissing(f"{folder} went away while it was read, and another folder is in its place")


@dataclass(slots=True)
class _Level:
    """A folder that is being read: its entries, its descriptor, and how it is named."""

    descriptor: int
    place: External
    entries: Any

    def close(self) -> None:
        self.entries.close()
        # `scandir` of a descriptor leaves the descriptor to us.
        os.close(self.descriptor)


def _below(top: int, folder: External) -> Iterator[Found]:
    first = os.dup(top)
    levels = [_Level(first, folder, os.scandir(first))]
    try:
        while levels:
            here = levels[-1]
            entry = next(here.entries, None)
            if entry is None:
                levels.pop().close()
                continue
            if entry.name.startswith(".") or not is_speakable(entry.name):
                continue
            status = _status(entry)
            if status is not None and stat.S_ISREG(status.st_mode):
                version = f"{status.st_size:x}-{status.st_mtime_ns:x}"
                yield Found(here.place.joined(entry.name), status.st_size, status.st_mtime, version)
            elif status is not None and stat.S_ISDIR(status.st_mode):
                opened = _opened(entry.name, here.descriptor, here.place, len(levels))
                if opened is not None:
                    levels.append(_Level(opened, here.place.joined(entry.name), os.scandir(opened)))
    finally:
        for level in levels:
            level.close()


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _opened(name: str, parent: int, here: External, level: int) -> int | None:
    """Return a folder, open; None for one that is gone by now, may not be read or lies too deep."""
    if level >= DEEPEST:
        log.warning("folder_skipped", folder=str(here.joined(name)), why=f"deeper than {DEEPEST} levels")
        return None
    try:
        return os.open(name, _READING, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        log.warning("folder_skipped", folder=str(here.joined(name)), why=error.strerror)
        return None
