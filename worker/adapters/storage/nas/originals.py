"""Originals kept in a hidden folder beside their place: the same file system, so that a link or a rename is enough."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from worker.adapters.storage.hidden import UNDO_FOLDER
from worker.adapters.storage.nas import files
from worker.adapters.storage.nas.files import MAX_NAME_BYTES, nas_errors
from worker.adapters.storage.nas.roots import NasRoots, Spot
from worker.adapters.threads import Stop, in_thread
from worker.core.errors import SourceMissing, StorageUnavailable, VerificationFailed
from worker.core.ports import Stat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.core.location import External

# What a file system without hard links answers, and a kernel that protects the files of others.
_NO_LINK: Final = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


class NasOriginals:
    """`worker.core.ports.originals.OriginalKeeper` for `nas` and `file`."""

    schemes = frozenset({"file", "nas"})

    def __init__(self, root: Path | None, roots: tuple[Path, ...]) -> None:
        self._roots = NasRoots(root, roots)

    async def keep(self, place: External, token: str, *, move: bool) -> bool:
        """Return whether the original is kept, by a hard link (a copy where there is none), or by a rename."""
        return await in_thread(lambda stop: self._keep(place, token, stop, move=move))

    def _keep(self, place: External, token: str, stop: Stop, *, move: bool) -> bool:
        spot = self._spot(place)
        name = _kept_name(token, spot.name)
        with nas_errors(place), _opened(spot) as folder:
            if folder is None:
                return False
            found = files.status(folder, spot.name)
            with _undo_folder(folder, make=found is not None) as undo:
                there = files.status(undo, name) if undo is not None else None
                if found is None or undo is None:
                    return there is not None
                files.require_regular(found, place)
                if there is None:
                    _bring(folder, spot.name, undo, name, stop, move=move)
                elif move and os.path.samestat(found, there):
                    # A link that a killed worker made before it could remove the first name.
                    files.drop(folder, spot.name)
                files.flush_folder(undo)
            files.flush_folder(folder)
        return True

    async def kept(self, place: External, token: str) -> Stat | None:
        """Return what is kept, or None."""
        return await in_thread(lambda _: self._kept(place, token))

    def _kept(self, place: External, token: str) -> Stat | None:
        spot = self._spot(place)
        with nas_errors(place), _opened(spot) as folder:
            if folder is None:
                return None
            with _undo_folder(folder) as undo:
                found = files.status(undo, _kept_name(token, spot.name)) if undo is not None else None
        return None if found is None else Stat(found.st_size, None, f"{found.st_size}-{found.st_mtime_ns}")

    async def put_back(self, place: External, token: str, *, replace: bool) -> bool:
        """Return whether the original is at its place again, by one rename."""
        return await in_thread(lambda _: self._put_back(place, token, replace=replace))

    def _put_back(self, place: External, token: str, *, replace: bool) -> bool:
        spot = self._spot(place)
        name = _kept_name(token, spot.name)
        with nas_errors(place), _opened(spot) as folder:
            if folder is None:
                return False
            with _undo_folder(folder) as undo:
                if undo is None or files.status(undo, name) is None:
                    return False
                if not replace and files.status(folder, spot.name) is not None:
                    raise StorageUnavailable(f"{place}: something else has taken its place")
                os.replace(name, spot.name, src_dir_fd=undo, dst_dir_fd=folder)
                # Where both names were links of one file, a rename leaves both.
                files.drop(undo, name)
            files.flush_folder(folder)
            _remove_empty(folder)
        return True

    async def drop(self, place: External, token: str) -> None:
        """Delete what is kept; nothing there is success."""
        await in_thread(lambda _: self._drop(place, token))

    def _drop(self, place: External, token: str) -> None:
        spot = self._spot(place)
        with nas_errors(place), _opened(spot) as folder:
            if folder is None:
                return
            with _undo_folder(folder) as undo:
                if undo is not None:
                    files.drop(undo, _kept_name(token, spot.name))
            _remove_empty(folder)

    async def relocate(self, place: External, target: External) -> bool:
        """Return whether the file is at `target` now; False where another one is there."""
        return await in_thread(lambda _: self._relocate(place, target))

    def _relocate(self, place: External, target: External) -> bool:
        here, there = self._spot(place), self._spot(target)
        with nas_errors(place), files.opened_folder(there.root, there.folders, set()) as new, _opened(here) as old:
            found = None if old is None else files.status(old, here.name)
            standing = files.status(new, there.name)
            if old is None or found is None:
                raise SourceMissing(f"{place} does not exist")
            files.require_regular(found, place)
            if standing is not None:
                if not os.path.samestat(found, standing):
                    return False
            elif not _linked(old, here.name, new, there.name):
                os.rename(here.name, there.name, src_dir_fd=old, dst_dir_fd=new)
            files.flush_folder(new)
            # The second name, by a link of ours now or of a server that was killed right after it made it.
            if files.status(new, there.name) is not None:
                files.drop(old, here.name)
        return True

    def _spot(self, place: External) -> Spot:
        spot = self._roots.spot(place)
        with nas_errors(place):
            self._roots.require_mounted(spot.root)
        return spot


@contextmanager
def _opened(spot: Spot) -> Iterator[int | None]:
    """Yield the folder of a place, None where it is gone."""
    try:
        opening = files.opened_folder(spot.root, spot.folders)
        folder = opening.__enter__()
    except FileNotFoundError:
        yield None
        return
    try:
        yield folder
    finally:
        opening.__exit__(None, None, None)


@contextmanager
def _undo_folder(folder: int, *, make: bool = False) -> Iterator[int | None]:
    """Yield the hidden folder in an open one, None where it is not there and is not made."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(UNDO_FOLDER, dir_fd=folder)
    try:
        undo = os.open(UNDO_FOLDER, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        yield None
        return
    try:
        yield undo
    finally:
        os.close(undo)


def _bring(folder: int, name: str, undo: int, kept: str, stop: Stop, *, move: bool) -> None:
    if move:
        os.rename(name, kept, src_dir_fd=folder, dst_dir_fd=undo)
        return
    try:
        os.link(name, kept, src_dir_fd=folder, dst_dir_fd=undo, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(folder, name, undo, kept, stop)


def _copy(folder: int, name: str, undo: int, kept: str, stop: Stop) -> None:
    """Copy a file with its times under a name that is there only once the copy is whole."""
    part = f"{kept[: MAX_NAME_BYTES // 4]}.part"
    files.drop(undo, part)
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(reading)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(part, flags, found.st_mode & 0o777, dir_fd=undo)
        try:
            copied = files.copy_bytes(reading, writing, stop)
            os.utime(writing, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    if copied != found.st_size:
        files.drop(undo, part)
        raise VerificationFailed(f"{name}: {copied} of {found.st_size} bytes could be kept")
    os.rename(part, kept, src_dir_fd=undo, dst_dir_fd=undo)


def _linked(old: int, name: str, new: int, other: str) -> bool:
    """Return whether a file has a second name now, which replaces nothing; False where there are no links."""
    try:
        os.link(name, other, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise StorageUnavailable(f"{other} would be on another file system: move_to must be on the same") from error
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def _remove_empty(folder: int) -> None:
    with suppress(OSError):
        # Not there, or not empty: another original lives there.
        os.rmdir(UNDO_FOLDER, dir_fd=folder)


def _kept_name(token: str, name: str) -> str:
    start = f"{token}-"
    return start + name.encode()[: MAX_NAME_BYTES - len(start)].decode(errors="ignore")
