"""The queries for disagreements between database, broker and storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.core.ports.claims import Announced, Overdue


class ReconcileStore(Protocol):
    """Jobs that nobody works on, and what ended ones left behind."""

    async def overdue(self, seconds: float) -> list[Overdue]:
        """Return the jobs that should have gone on at least so long ago, the longest overdue first."""
        ...

    async def requeue(self, job_id: str, digest: str) -> bool:
        """Queue a job that is still overdue again, its message's body now `digest`; return whether it was."""
        ...

    async def pending_deletions(self, ended: tuple[float, float] | None = None) -> dict[str, tuple[str, ...]]:
        """Return by completed job the external files that it still has to delete.

        With `ended`, only of jobs that ended between so many seconds ago and so many.
        """
        ...

    async def announced(self) -> list[Announced]:
        """Return the ended jobs whose attempts announced more than their record names."""
        ...
