"""Files that jobs replaced or deleted, kept for a while so that they can be put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.core.location import External
    from worker.core.ports.storage import Stat


@dataclass(frozen=True, slots=True)
class Original:
    """A file that a job replaced (by `new_bytes` with `new_sha256`) or deleted (both None).

    `state` is `planned` (noted before anything happens), `kept`, `restored` or `purged`. `proved` says that what took
    its place was read once as a whole.
    """

    job_id: str
    uri: str
    bytes: int
    version: str
    new_bytes: int | None = None
    new_sha256: str | None = None
    state: str = "planned"
    kept_at: datetime | None = None
    proved: bool = False
    problem: str | None = None

    @property
    def is_deletion(self) -> bool:
        """Return whether nothing took its place."""
        return self.new_sha256 is None


class OriginalStore(Protocol):
    """The rows of originals, each known by its job and its URI."""

    async def plan_originals(self, originals: Sequence[Original]) -> None:
        """Insert rows; those that exist stay as they are."""
        ...

    async def originals(self, job_id: str | None = None, limit: int = 1000) -> list[Original]:
        """Return a job's originals, or the newest of all that can be put back."""
        ...

    async def set_original(self, job_id: str, uri: str, state: str, problem: str | None = None) -> None:
        """Set the state of one; `kept` starts its age where it was planned."""
        ...

    async def prove_original(self, job_id: str, uri: str, problem: str | None = None) -> None:
        """Note that what took its place was read as a whole, or why it was not: then it is looked at a day later."""
        ...

    async def claim_purge(self, older_than_seconds: float, most_bytes: int, lease_seconds: float) -> Original | None:
        """Return the oldest original that is too old, or too much, leased to the caller; None when there is none."""
        ...

    async def settle_planned(self, older_than_seconds: float, limit: int = 100) -> list[Original]:
        """Return planned originals of jobs that ended so long ago: a killed worker may have left them."""
        ...

    async def kept_bytes(self) -> int:
        """Return how many bytes are kept."""
        ...


class OriginalKeeper(Protocol):
    """One kind of place that keeps originals, on the same file system or in the same bucket.

    `token` distinguishes the originals of one place. Each call may be repeated after a crash anywhere in it.
    Errors: RefusedPath, StorageUnavailable, DiskFull, MountMissing.
    """

    @property
    def schemes(self) -> frozenset[str]:
        """Return the URI schemes it serves."""
        ...

    async def keep(self, place: External, token: str, *, move: bool) -> bool:
        """Return whether the original is kept; with `move` it is not at its place any more.

        What was kept under this token before stays as it is.
        """
        ...

    async def kept(self, place: External, token: str) -> Stat | None:
        """Return what is kept, or None."""
        ...

    async def put_back(self, place: External, token: str, *, replace: bool) -> bool:
        """Return whether the original is at its place again; False when it is not kept.

        Without `replace` nothing that is there is lost: StorageUnavailable.
        """
        ...

    async def drop(self, place: External, token: str) -> None:
        """Delete what is kept; nothing there is success."""
        ...

    async def relocate(self, place: External, target: External) -> bool:
        """Return whether the file is at `target` now, and not at its place; False where another one is there."""
        ...
