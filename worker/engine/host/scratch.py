"""The scratch folders of attempts: each is locked, so that a cleaner takes only what nobody holds."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import shutil
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from worker.core.errors import DiskFull, MountMissing, ToolFailed
from worker.engine.attempt.locks import take
from worker.engine.attempt.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

_LOOK_SECONDS: Final = 1.0
# A job may use what was free when it was claimed, but for this part: below it everybody's next file may fail.
_RESERVE_PART: Final = 8
# A disk with less than this counts as full, even where no free space is required.
_MIN_BYTES: Final = 1 << 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_OURS = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.\d+$")


class AttemptFolder:
    """A folder under a lock that dies with this process; it is made when it is first used.

    To make, lock and remove it takes a tenth of a job that touches no file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def make(self) -> Path:
        """Return its path, which is there and ours from now on. MountMissing where it cannot be made."""
        try:
            while self._descriptor is None:
                self._descriptor = _locked(self.path)
        except OSError as error:
            raise MountMissing(f"scratch {self.path.parent} cannot be used: {error.strerror}") from error
        return self.path

    async def remove(self) -> None:
        """Remove it with all that is in it; what is gone already is no error."""
        # Tasks that only move or delete leave the folder empty: that needs no thread.
        if self._descriptor is not None and not _removed_empty(self.path):
            await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)

    def unlock(self) -> None:
        """Leave it to whoever comes for it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Scratch:
    """The scratch folder of a host; several workers may share it."""

    def __init__(self, root: Path, free_bytes: int = 0) -> None:
        """Work under `root`, which must keep `free_bytes` free before a job is taken."""
        self.root = root.absolute()
        self._free_bytes = free_bytes

    @contextmanager
    def folder(self, name: str) -> Iterator[AttemptFolder]:
        """Yield a folder that is locked from its first use until the body ends; the caller removes or keeps it."""
        folder = AttemptFolder(self.root / name)
        try:
            yield folder
        finally:
            folder.unlock()

    def sweep(self, kept: Collection[str] = ()) -> list[str]:
        """Remove the folders of attempts that nobody holds and that are not `kept`; return their names."""
        removed = []
        for name in self.unheld(kept):
            # Locked until it is gone: an attempt may come for the files that an earlier one kept there.
            with _unheld(self.root / name) as unheld:
                if unheld:
                    shutil.rmtree(self.root / name, ignore_errors=True)
                    removed.append(name)
        return removed

    def unheld(self, kept: Collection[str] = ()) -> list[str]:
        """Return the names of the folders of attempts that nobody holds and that are not `kept`."""
        return [
            path.name
            for path in (sorted(self.root.iterdir()) if self.root.is_dir() else [])
            if path.name not in kept and _OURS.fullmatch(path.name) and self._is_unheld(path)
        ]

    def is_live(self, label: str) -> bool:
        """Return whether processes marked with `label`, the path of an attempt's folder, may go on.

        Those of other scratch folders are none of our business.
        """
        path = Path(label)
        return path.parent != self.root or (path.is_dir() and not self._is_unheld(path))

    @staticmethod
    def _is_unheld(path: Path) -> bool:
        with _unheld(path) as unheld:
            return unheld

    def check(self) -> None:
        """Return if there is room for a job beside those under way on this host; DiskFull or MountMissing otherwise."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.root).free
            reserved = self._reserved()
        except OSError as error:
            raise MountMissing(f"scratch {self.root} cannot be used: {error.strerror}") from error
        if free - reserved < self._free_bytes:
            beside = f" beside {reserved // 2**20} MiB for the jobs under way" if reserved else ""
            raise DiskFull(
                f"scratch {self.root} has {free // 2**20} MiB free; a job needs {self._free_bytes // 2**20} MiB"
                f"{beside}: make room, or set WORKER_SCRATCH"
            )

    def _reserved(self) -> int:
        """Return what the attempts of this host's workers may still take of the space that each was promised."""
        ours = [path for path in self.root.iterdir() if _OURS.fullmatch(path.name) and not path.is_symlink()]
        held = [path for path in ours if not self._is_unheld(path) and path.is_dir()]
        return sum(max(0, self._free_bytes - _bytes_under(path)) for path in held)

    @asynccontextmanager
    async def bounded(self, folder: Path) -> AsyncIterator[None]:
        """End the body with ToolFailed, which is charged, once its files in `folder` are what fills scratch.

        Endless output (`tpad=stop=-1`) would else defer its job for ever, and every other one of this host with it.
        A full disk that is not this attempt's doing stays DiskFull.
        """
        body = asyncio.current_task()
        overrun: list[ToolFailed] = []

        async def watch() -> None:
            while not overrun:
                if error := await asyncio.to_thread(self._overrun, folder, self._free_bytes // _RESERVE_PART):
                    overrun.append(error)
                    if body is not None:
                        body.cancel()
                await asyncio.sleep(_LOOK_SECONDS)

        watcher = Watch(_LOOK_SECONDS, watch, "scratch guard")
        try:
            yield
        except asyncio.CancelledError:
            if not overrun or body is None or body.uncancel() > 0:
                raise
            raise overrun[0] from None
        except (DiskFull, OSError) as error:
            verdict = await asyncio.to_thread(self._verdict, error, folder)
            if verdict is error:
                raise
            raise verdict from error
        finally:
            watcher.cancel()

    def _verdict(self, error: DiskFull | OSError, folder: Path) -> Exception:
        """Return the error to raise for an error: the job's, this host's, or the same one."""
        if isinstance(error, OSError) and error.errno not in _FULL:
            return error
        if charged := self._overrun(folder) or (self._over_quota(folder) if _tells_quota(error) else None):
            return charged
        # Tasks write by themselves under `folder`, so that any of them may be the first to meet a full disk.
        if isinstance(error, OSError):
            return DiskFull(f"scratch {self.root} is full")
        if isinstance(error.__cause__, OSError) or not self._takes(folder):
            return error
        return ToolFailed(f"{error} (scratch {self.root} takes files: the disk is not full)")

    def _takes(self, folder: Path) -> bool:
        """Return whether `folder` takes another file: a tool's words alone, which may be a name's, fill no disk."""
        try:
            if shutil.disk_usage(folder).free < _MIN_BYTES:
                return False
            with TemporaryFile(dir=folder) as file:
                os.posix_fallocate(file.fileno(), 0, _MIN_BYTES)
        except OSError as error:
            return error.errno not in _FULL
        return True

    def _overrun(self, folder: Path, below: int | None = None) -> ToolFailed | None:
        """Return what a job is charged with whose files are more than half of what scratch lacks, else None.

        With `below`, only once fewer bytes than that are free.
        """
        try:
            free = shutil.disk_usage(self.root).free
        except OSError:
            return None
        if below is not None and free >= below:
            return None
        lacking = max(self._free_bytes, _MIN_BYTES) - free
        # With room enough it was a neighbour, gone by now, or it is a quota or the inodes: none of the job's doing.
        if lacking <= 0 or (own := _bytes_under(folder)) <= lacking // 2:
            return None
        return _charged(own, f"{free // 2**20} MiB are left")

    def _over_quota(self, folder: Path) -> ToolFailed | None:
        """Return what a job is charged with that met a quota and took more than it was promised, else None."""
        own = _bytes_under(folder)
        return _charged(own, "a quota grants no more") if own > self._free_bytes else None


def _charged(own: int, others: str) -> ToolFailed:
    return ToolFailed(
        f"the job filled scratch: {own // 2**20} MiB are its own and {others}; if its output does end, give it a larger"
        " WORKER_SCRATCH",
        passing=True,
    )


def _tells_quota(error: BaseException) -> bool:
    """Return whether an error means that a quota is used up: then free space says nothing."""
    numbers = {found.errno for found in (error, error.__cause__) if isinstance(found, OSError)}
    return errno.EDQUOT in numbers or "quota exceeded" in str(error).lower()


def _locked(path: Path) -> int | None:
    """Return a descriptor that locks the folder `path`, made if need be; None when a cleaner took it meanwhile."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    held = False
    try:
        with suppress(FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held = os.path.samestat(os.fstat(descriptor), path.stat())
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


@contextmanager
def _unheld(path: Path) -> Iterator[bool]:
    """Yield whether nobody holds the folder `path`; when so, it is ours for the body."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        yield take(descriptor)
    finally:
        os.close(descriptor)


def _removed_empty(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def _bytes_under(folder: Path) -> int:
    """Return the space that the files under `folder` take; what vanishes meanwhile counts nothing."""
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(above, name).lstat().st_blocks * 512
    return total
