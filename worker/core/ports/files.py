"""Files as the page shows and takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from worker.core.location import External


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder; `bytes` and `modified` (seconds since 1970) are None where a folder has none."""

    name: str
    is_folder: bool
    bytes: int | None = None
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a walk met; `modified` is seconds since 1970, `version` changes when the file does."""

    place: External
    bytes: int
    modified: float
    version: str


class OpenFile(Protocol):
    """A file that is open for reading, until `close`."""

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        ...

    @property
    def media_type(self) -> str:
        """Return its media type."""
        ...

    @property
    def modified(self) -> float:
        """Return when it changed last, in seconds since 1970."""
        ...

    @property
    def etag(self) -> str:
        """Return a text that is another one once the file is another one, without quotes."""
        ...

    def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield these bytes in pieces; StorageUnavailable when the file ends before."""
        ...

    async def close(self) -> None:
        """Let it go."""
        ...


class FileReader(Protocol):
    """One kind of place whose files people look at.

    Errors: RefusedPath outside the roots, SourceMissing, StorageUnavailable.
    """

    @property
    def schemes(self) -> frozenset[str]:
        """Return the URI schemes it serves."""
        ...

    @property
    def folders(self) -> tuple[External, ...]:
        """Return the folders that people may look into: the roots."""
        ...

    async def open(self, place: External) -> OpenFile:
        """Return the file, open."""
        ...

    async def entries(self, folder: External, limit: int) -> tuple[Entry, ...]:
        """Return what is in a folder, folders first, hidden names left out; at most so many."""
        ...

    def walk(self, folder: External) -> AsyncIterator[tuple[Found, ...]]:
        """Yield the files below a folder in batches, in no order; hidden names, links and devices are left out.

        However many there are, few are held at a time. SourceMissing when there is no such folder. MountMissing,
        StorageUnavailable when it goes away meanwhile: what was yielded by then is not all.
        """
        ...

    async def local(self, place: External) -> Path | None:
        """Return where a file is on this host; None for one that must be fetched."""
        ...

    async def link(self, place: External, seconds: int) -> str | None:
        """Return an address from which a browser gets the file itself for so long; None where we must pass it on."""
        ...


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload to a folder of this host: how much of it has come, and where it is once all of it has."""

    upload_id: str
    name: str
    bytes: int
    offset: int
    expires: float
    uri: str = ""

    @property
    def complete(self) -> bool:
        """Return whether all of it is there."""
        return self.offset == self.bytes


class UploadStore(Protocol):
    """Assembles uploads, so that each can go on after the server or the browser was killed."""

    async def begin(self, name: str, size: int, owner: str) -> Upload:
        """Return a new upload; DiskFull when there is no room for it."""
        ...

    async def get(self, upload_id: str) -> Upload:
        """Return an upload as it is now; SourceMissing when there is none."""
        ...

    async def append(self, upload_id: str, offset: int, pieces: AsyncIterator[bytes]) -> Upload:
        """Return the upload with these bytes at its end; what came before an error stays."""
        ...

    async def cancel(self, upload_id: str) -> None:
        """Remove an upload that is not complete."""
        ...

    async def sweep(self) -> int:
        """Remove what nobody continued for too long; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An upload that a browser sends to a bucket itself; `parts` are the sizes that are there, by number from 1."""

    place: External
    upload_id: str
    part_bytes: int
    parts: Mapping[int, int] = field(default_factory=dict)


class MultipartStore(Protocol):
    """Uploads that go to a bucket without passing through us."""

    async def begin(self, name: str, size: int) -> MultipartUpload:
        """Return a new upload below the first root."""
        ...

    async def get(self, place: External, upload_id: str) -> MultipartUpload:
        """Return an upload with the parts that are there; SourceMissing when there is none."""
        ...

    async def links(self, place: External, upload_id: str, numbers: tuple[int, ...]) -> dict[int, str]:
        """Return by part an address to which it can be PUT."""
        ...

    async def origin(self) -> str:
        """Return the scheme and host to which parts are PUT."""
        ...

    async def finish(self, place: External, upload_id: str, size: int) -> None:
        """Make the object out of its parts; VerificationFailed when they are not `size` bytes."""
        ...

    async def cancel(self, place: External, upload_id: str) -> None:
        """Remove its parts."""
        ...

    async def sweep(self, older_than_seconds: float) -> int:
        """Remove uploads that began so long ago; return how many."""
        ...
