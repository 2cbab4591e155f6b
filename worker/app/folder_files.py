"""The actions on the files of watched folders, over the storages of this host."""

from __future__ import annotations

import asyncio
import fcntl
import os
import posixpath
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.app.places import originals, storages
from worker.app.serving import readers
from worker.core.errors import RefusedPath, StorageUnavailable
from worker.core.location import External, parse_location
from worker.engine.attempt.originals import keep_deleted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.ports import Repository
    from worker.core.ports.files import FileReader
    from worker.core.ports.originals import OriginalKeeper
    from worker.engine.storages import Storages
    from worker.settings import Settings

_MAX_NAMES: Final = 1000


@dataclass(frozen=True, slots=True)
class WatchedFiles:
    """`worker.core.ports.folders.FolderFiles`."""

    stores: Repository
    storages: Storages
    readers: Mapping[str, FileReader]
    keepers: Mapping[str, OriginalKeeper]

    @classmethod
    def of(cls, settings: Settings, stores: Repository) -> WatchedFiles:
        """Return them for the roots of these settings."""
        looking = {scheme: reader for reader in readers(settings) for scheme in reader.schemes}
        keeping = {scheme: keeper for keeper in originals(settings) for scheme in keeper.schemes}
        return cls(stores, storages(settings), looking, keeping)

    async def admit(self, folder: str) -> External:
        """Return a folder in its normal form, by which artifacts are named; RefusedPath outside the roots."""
        place = parse_location(folder if folder.endswith("/") else f"{folder}/", self.storages.path_map)
        if not isinstance(place, External) or place.is_web:
            raise RefusedPath(f"{folder!r} is no folder: write nas://…/, s3://bucket/…/ or an absolute path")
        return await asyncio.to_thread(self.storages.admit_folder, place)

    async def is_written(self, place: External) -> bool:
        """Return whether some program of this host has the file open for writing; False where that is not known."""
        path = await self.readers[place.scheme].local(place)
        return path is not None and await asyncio.to_thread(_is_open_for_writing, path)

    async def move(self, place: External, folder: External, path: str) -> External:
        """Return where the file is after it was moved below `folder`; nothing that is there is replaced."""
        keeper = self.keepers[place.scheme]
        if folder.scheme != place.scheme and {folder.scheme, place.scheme} != {"nas", "file"}:
            raise RefusedPath(f"{place} cannot be moved to {folder}: that is another storage")
        stem, suffix = posixpath.splitext(path)
        for number in range(1, _MAX_NAMES):
            target = folder.joined(path if number == 1 else f"{stem} ({number}){suffix}")
            if await keeper.relocate(place, target):
                return target
        raise StorageUnavailable(f"{folder.joined(path)} and {_MAX_NAMES} names like it are taken")

    async def delete(self, job_id: str, place: External) -> None:
        """Delete a file; it is kept for `undo` of this job."""
        if not await keep_deleted(self.stores, self.storages, job_id, str(place)):
            await self.storages.delete(str(place))


def _is_open_for_writing(path: Path) -> bool:
    """Return whether a program of this host may write to the file: the kernel grants no read lease then.

    Where there are no leases (NFS, CIFS, the file of another user) the answer is no: then size and time decide alone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise StorageUnavailable(f"{path.name} cannot be opened: {error.strerror}") from error
    try:
        # Who opens the file for writing this very moment lets the kernel send us a signal: one that is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
