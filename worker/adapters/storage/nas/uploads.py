"""Uploads into a folder of this host: hidden until they are whole, and continued from wherever they were cut."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from worker.adapters.storage.hidden import HIDDEN
from worker.adapters.storage.nas import files
from worker.adapters.storage.nas.files import nas_errors
from worker.core.errors import DiskFull, InvalidJob, LeveretError, Misconfigured, Problem, SourceMissing
from worker.core.ports.files import Upload
from worker.core.upload_name import safe_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

KEPT_FREE: Final = 1 << 30
MAX_OPEN: Final = 100
_ID: Final = re.compile(r"^[0-9a-f]{32}$")


class OffsetConflict(LeveretError):
    """The piece does not begin where the upload ends now."""

    http_status = 409


@dataclass(frozen=True, slots=True)
class _Facts:
    name: str
    bytes: int
    owner: str


class NasUploads:
    """`worker.core.ports.files.UploadStore` in `folder` below the NAS root.

    An upload is two hidden files, the bytes and what is known of them. The offset is the size of the first: nothing
    else has to be kept in step when a process is killed.
    """

    def __init__(
        self,
        root: Path,
        folder: str,
        *,
        most_bytes: int,
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._parts = tuple(folder.split("/"))
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        # A lock lives as long as somebody has it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, name: str, size: int, owner: str) -> Upload:
        """Return a new upload; DiskFull when there is no room, InvalidJob when it is too large or has no name."""
        if not 0 < size <= self._most_bytes:
            raise InvalidJob([Problem("Upload-Length", f"an upload has 1 to {self._most_bytes} bytes, not {size}")])
        facts = _Facts(safe_name(name), size, owner)
        return await asyncio.to_thread(self._begin, secrets.token_hex(16), facts)

    def _begin(self, upload_id: str, facts: _Facts) -> Upload:
        with nas_errors(self._root):
            if not self._root.is_dir():
                raise Misconfigured(f"{self._root} is not there: mount it, make it, or correct WORKER_NAS_ROOT")
            free = shutil.disk_usage(self._root).free
            with files.opened_folder(self._root.resolve(), self._parts, made=set()) as folder:
                if len(_open_ids(folder)) >= MAX_OPEN:
                    raise DiskFull(f"{MAX_OPEN} uploads are open already: finish or cancel some")
                promised = _promised(folder)
                if free < facts.bytes + promised + KEPT_FREE:
                    room = f"{self._root} has {free} bytes free, of which others are promised {promised}"
                    raise DiskFull(f"{room}: too few for an upload of {facts.bytes}")
                _write_new(folder, _data(upload_id), b"")
                document = {"name": facts.name, "bytes": facts.bytes, "owner": facts.owner}
                _write_new(folder, _info(upload_id), json.dumps(document).encode())
        return self._upload(upload_id, facts, 0, self._clock())

    async def get(self, upload_id: str) -> Upload:
        """Return an upload as it is now."""
        return await asyncio.to_thread(self._get, upload_id)

    def _get(self, upload_id: str) -> Upload:
        with self._opened(upload_id) as folder:
            facts = _facts(folder, upload_id)
            found = os.stat(_data(upload_id), dir_fd=folder, follow_symlinks=False)
        return self._upload(upload_id, facts, found.st_size, found.st_mtime)

    async def append(self, upload_id: str, offset: int, pieces: AsyncIterator[bytes]) -> Upload:
        """Return the upload with these bytes at its end, whole and visible once all of them are there."""
        async with self._locks.setdefault(upload_id, asyncio.Lock()):
            return await self._append(upload_id, offset, pieces)

    async def _append(self, upload_id: str, offset: int, pieces: AsyncIterator[bytes]) -> Upload:
        upload = await self.get(upload_id)
        if offset != upload.offset:
            raise OffsetConflict(f"the upload has {upload.offset} bytes, and this piece begins at {offset}")
        descriptor = await asyncio.to_thread(self._open_for_writing, upload_id)
        try:
            async for piece in pieces:
                if upload.offset + len(piece) > upload.bytes:
                    raise InvalidJob([Problem("", f"the upload has {upload.bytes} bytes, and more came")])
                with nas_errors(upload.name):
                    await asyncio.to_thread(_write_all, descriptor, piece)
                upload = replace(upload, offset=upload.offset + len(piece))
            if upload.complete:
                with nas_errors(upload.name):
                    await asyncio.to_thread(os.fsync, descriptor)
        finally:
            os.close(descriptor)
        return await asyncio.to_thread(self._finish, upload) if upload.complete else await self.get(upload_id)

    def _open_for_writing(self, upload_id: str) -> int:
        with self._opened(upload_id) as folder:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(_data(upload_id), flags, dir_fd=folder)

    def _finish(self, upload: Upload) -> Upload:
        """Show the file under a name that nothing has yet, then forget that it was an upload."""
        with self._opened(upload.upload_id) as folder:
            stem, dot, suffix = upload.name.rpartition(".")
            for number in range(10_000):
                tail = f"-{number + 1}" if number else ""
                name = f"{stem}{tail}{dot}{suffix}" if dot and stem else f"{upload.name}{tail}"
                if files.take_name(folder, _data(upload.upload_id), name):
                    break
            else:
                raise DiskFull(f"{upload.name}: ten thousand files have this name")
            _remove(folder, upload.upload_id)
        return replace(upload, name=name, uri=f"nas://{'/'.join((*self._parts, name))}")

    async def cancel(self, upload_id: str) -> None:
        """Remove an upload that is not complete."""
        await asyncio.to_thread(self._cancel, upload_id)

    def _cancel(self, upload_id: str) -> None:
        with self._opened(upload_id) as folder:
            os.stat(_info(upload_id), dir_fd=folder, follow_symlinks=False)
            _remove(folder, upload_id)

    async def sweep(self) -> int:
        """Remove what nobody continued for too long; return how many."""
        return await asyncio.to_thread(self._sweep)

    def _sweep(self) -> int:
        removed = 0
        with (
            nas_errors(self._root),
            suppress(FileNotFoundError),
            files.opened_folder(self._root.resolve(), self._parts) as folder,
        ):
            for upload_id in _open_ids(folder):
                found = files.status(folder, _data(upload_id)) or files.status(folder, _info(upload_id))
                if found is not None and found.st_mtime + self._seconds < self._clock():
                    _remove(folder, upload_id)
                    removed += 1
        return removed

    @contextmanager
    def _opened(self, upload_id: str) -> Iterator[int]:
        """Yield a descriptor of the folder of uploads; what is missing in it is no upload."""
        if not _ID.fullmatch(upload_id):
            raise SourceMissing(f"there is no upload {upload_id[:40]!r}")
        with nas_errors("uploads"):
            try:
                with files.opened_folder(self._root.resolve(), self._parts) as folder:
                    yield folder
            except FileNotFoundError as error:
                message = f"there is no upload {upload_id}: it is complete, cancelled or too old"
                raise SourceMissing(message) from error

    def _upload(self, upload_id: str, facts: _Facts, offset: int, touched: float) -> Upload:
        return Upload(upload_id, facts.name, facts.bytes, offset, touched + self._seconds)


def _data(upload_id: str) -> str:
    return f"{HIDDEN}-upload-{upload_id}"


def _info(upload_id: str) -> str:
    return f"{HIDDEN}-upload-{upload_id}.json"


def _open_ids(folder: int) -> list[str]:
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        heads = (name.removeprefix(f"{HIDDEN}-upload-").removesuffix(".json") for name in os.listdir(reading))  # noqa: PTH208 - of a descriptor
        return sorted({head for head in heads if _ID.fullmatch(head)})
    finally:
        os.close(reading)


def _facts(folder: int, upload_id: str) -> _Facts:
    descriptor = os.open(_info(upload_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(65536)
    try:
        facts = json.loads(content)
        # whoever may write to the NAS may have written this: no name of theirs leads out of the folder
        return _Facts(safe_name(str(facts["name"])), int(facts["bytes"]), str(facts["owner"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SourceMissing(f"the upload {upload_id} cannot be read: cancel it, and start again") from error


def _promised(folder: int) -> int:
    """Return the bytes that open uploads still lack."""
    lacking = 0
    for upload_id in _open_ids(folder):
        with suppress(FileNotFoundError, SourceMissing):
            there = os.stat(_data(upload_id), dir_fd=folder, follow_symlinks=False).st_size
            lacking += max(0, _facts(folder, upload_id).bytes - there)
    return lacking


def _write_new(folder: int, name: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o666, dir_fd=folder)
    try:
        _write_all(descriptor, content)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove(folder: int, upload_id: str) -> None:
    for name in (_info(upload_id), _data(upload_id)):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
