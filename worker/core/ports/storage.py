"""Files outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from worker.core.attempt import Artifact
    from worker.core.location import External
    from worker.core.spans import Span


@dataclass(frozen=True, slots=True)
class Stat:
    """The facts of an external file that need no reading; `version` changes when the file does."""

    bytes: int
    media_type: str | None = None
    version: str = ""


Confirm: TypeAlias = "Callable[[], Awaitable[None]]"
"""Awaited right before a fixed name changes; raises LeaseLost when the job is not ours any more."""


class Storage(Protocol):
    """One kind of place that files come from or go to.

    Errors: RefusedPath outside the roots, SourceMissing, StorageUnavailable after own retries, DiskFull,
    MountMissing.
    """

    @property
    def schemes(self) -> frozenset[str]:
        """Return the URI schemes it serves."""
        ...

    def admit(self, place: External, *, writing: bool) -> External:
        """Return `place` if jobs may touch it (links and `..` resolved); RefusedPath otherwise."""
        ...

    def admit_folder(self, folder: External) -> External:
        """Return a folder, a root too, if jobs may touch what is in it; RefusedPath, which names it, otherwise."""
        ...

    async def stat(self, place: External) -> Stat | None:
        """Return what is there, or None."""
        ...

    async def listing(self, folder: External) -> tuple[External, ...]:
        """Return the files that are directly in a folder, by name; SourceMissing when there is no such folder."""
        ...

    async def fetch(self, place: External, into: Path) -> Path:
        """Return a local path of the file: itself on a NAS, else a complete copy at `into`."""
        ...

    async def stage(self, artifacts: Sequence[Artifact]) -> None:
        """Bring the bytes there without changing anything that a reader can see."""
        ...

    async def reveal(self, artifacts: Sequence[Artifact], confirm: Confirm) -> None:
        """Make staged artifacts visible under their fixed names, in this order, sizes checked."""
        ...

    async def discard(self, artifacts: Sequence[Artifact]) -> None:
        """Remove what `stage` left; nothing that a reader can see changes, immutable files aside."""
        ...

    async def sweep(self, place: External, job_id: str) -> None:
        """Remove what interrupted `stage`s of a job left hidden beside `place`; asked only of a job that has ended."""
        ...

    async def delete(self, place: External) -> None:
        """Delete a file; none there is success."""
        ...

    async def check(self) -> None:
        """Return if the storage can be written to now."""
        ...

    def url(self, place: External) -> str:
        """Return the address that the record shows."""
        ...


@runtime_checkable
class RangedStorage(Protocol):
    """A storage that sends parts of a file."""

    async def fetch_spans(self, place: External, version: str, spans: Sequence[Span], into: Path) -> None:
        """Write these bytes of a file into `into`, which exists, at their own offsets.

        StorageUnavailable when the file has another `version` than `stat` said, or the server sends it whole only.
        """
        ...
