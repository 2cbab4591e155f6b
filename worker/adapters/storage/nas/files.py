"""Files reached from a root by open folders alone, so that a link put in between leads nowhere."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from worker.adapters.storage.hidden import HIDDEN
from worker.core.errors import DiskFull, LeveretError, RefusedPath, StorageUnavailable, VerificationFailed
from worker.core.location import is_speakable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from worker.adapters.threads import Stop

MAX_NAME_BYTES: Final = 255

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 8 * 1024 * 1024
# What copy_file_range answers between file systems or kernels that cannot do it.
_NO_COPY: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""The errors of a file system that has no hard links."""
_NEVER: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})


@contextmanager
def nas_errors(place: object) -> Iterator[None]:
    """Yield nothing; an OSError inside becomes ours, with `place` as its subject."""
    try:
        yield
    except OSError as error:
        raise _ours(error, place) from error


def _ours(error: OSError, place: object) -> LeveretError:
    message = f"{place}: {error.strerror or error}"
    if error.errno in _FULL:
        return DiskFull(message)
    if error.errno in _NEVER:
        return RefusedPath(message)
    return StorageUnavailable(message)


@contextmanager
def opened_folder(root: Path, parts: Sequence[str], made: set[Path] | None = None) -> Iterator[int]:
    """Yield a descriptor of the folder `parts` below `root`, which no link can lead out of.

    Each name is opened from the one before it and never followed (openat with O_NOFOLLOW): what was a folder
    when the place was admitted and is a link now is RefusedPath. With `made`, missing folders are created and noted
    there. FileNotFoundError when a folder is missing.
    """
    folder = os.open(root, _FOLDER)
    try:
        here = root
        for part in parts:
            here /= part
            if made is not None:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
                    made.add(here)
            try:
                below = os.open(part, _FOLDER, dir_fd=folder)
            except NotADirectoryError as error:
                raise RefusedPath(f"{here} is a link or a file now, where a folder was expected") from error
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def status(folder: int, name: str) -> os.stat_result | None:
    """Return what `name` is in an open folder, a link as itself; None when there is nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def regular_names(folder: int) -> list[str]:
    """Return the names of the regular files in an opened folder, without hidden ones and those no job could say."""
    # The descriptor only names the folder (O_PATH); reading it takes one of its own.
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        with os.scandir(reading) as entries:
            named = [e for e in entries if not e.name.startswith(".") and is_speakable(e.name)]
            return sorted(entry.name for entry in named if entry.is_file(follow_symlinks=False))
    finally:
        os.close(reading)


def require_regular(found: os.stat_result, place: object) -> None:
    """Return if `found` is a regular file; RefusedPath names what it is instead."""
    if not stat.S_ISREG(found.st_mode):
        raise RefusedPath(f"{place} is {_kind(found.st_mode)}, not a file")


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")


def check_readable(folder: int, name: str, place: object) -> None:
    """Return if `name` can be read and is a regular file still when it is open; RefusedPath otherwise."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    require_regular(found, place)
    # A pipe that takes the file's place now would block an ordinary open for ever.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        require_regular(os.fstat(descriptor), place)
    finally:
        os.close(descriptor)


def copy_into(source: Path, folder: int, name: str, size: int, stop: Stop) -> None:
    """Copy `source` to `name` in an open folder, by the kernel where it can, and flush it to the disk.

    VerificationFailed when the source, or what is there afterwards, is not `size` bytes.
    """
    try:
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise VerificationFailed(f"{source.name} is gone from scratch before it was published") from error
    try:
        # Whatever has our own hidden name is an earlier, perhaps torn, copy.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(name, flags, 0o666, dir_fd=folder)
        try:
            copied = copy_bytes(reading, writing, stop)
            os.fsync(writing)
            stored = os.fstat(writing).st_size
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    if copied != size or stored != size:
        raise VerificationFailed(f"{source.name} is {size} bytes, but {stored} of {copied} read were stored")


def copy_bytes(reading: int, writing: int, stop: Stop) -> int:
    """Return how many bytes were copied from one open file to another, by the kernel where it can."""
    total = 0
    try:
        while count := os.copy_file_range(reading, writing, _CHUNK):
            total += count
            stop.check()
    except OSError as error:
        if error.errno not in _NO_COPY or total:
            raise
        return _copy_by_hand(reading, writing, stop)
    return total


def _copy_by_hand(reading: int, writing: int, stop: Stop) -> int:
    total = 0
    while chunk := os.read(reading, _CHUNK):
        stop.check()
        view = memoryview(chunk)
        while view:
            view = view[os.write(writing, view) :]
        total += len(chunk)
    return total


def write_new(folder: int, name: str, content: bytes) -> None:
    """Write a new file in an open folder and flush it to the disk; FileExistsError when the name is taken."""
    writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(writing, view) :]
        os.fsync(writing)
    finally:
        os.close(writing)


def digest(folder: int, name: str, stop: Stop) -> str:
    """Return the SHA-256 of a regular file in an open folder, in hex."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    sha256 = hashlib.sha256()
    try:
        require_regular(os.fstat(descriptor), name)
        while chunk := os.read(descriptor, _CHUNK):
            sha256.update(chunk)
            stop.check()
    finally:
        os.close(descriptor)
    return sha256.hexdigest()


def take_name(folder: int, hidden: str, name: str) -> bool:
    """Return whether the file `hidden` is called `name` now; False where something has that name.

    A link refuses what exists, as no rename does. SMB and exFAT have none: there one that comes between the look and
    the rename is replaced.
    """
    try:
        os.link(hidden, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if status(folder, name) is not None:
            return False
        os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
        return True
    drop(folder, hidden)
    return True


def flush_folder(folder: int) -> None:
    """Flush the names of an open folder to the disk, where its file system knows how."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # CIFS and some FUSE file systems have no fsync of a folder.
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
    finally:
        os.close(descriptor)


def drop(folder: int, name: str) -> bool:
    """Return whether there was a file `name` in an open folder; it is gone."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def hidden_names(folder: int) -> list[str]:
    """Return the names in an open folder that are ours alone."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        with os.scandir(descriptor) as entries:
            return [entry.name for entry in entries if entry.name.startswith(HIDDEN + "-")]
    finally:
        os.close(descriptor)


def sweep(folder: int, seconds: float, now: float) -> None:
    """Remove hidden files in an open folder that nothing has written for `seconds` before `now`.

    `now` is the file system's own time (of a file just written there), not this host's.
    """
    for name in hidden_names(folder):
        found = status(folder, name)
        if found is not None and stat.S_ISREG(found.st_mode) and found.st_mtime < now - seconds:
            drop(folder, name)
