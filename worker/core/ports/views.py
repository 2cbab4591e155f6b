"""The statements of the page beside those of the repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.core.record import JobRecord
    from worker.core.views import AuditEntry, Changes, Expectation, LaneDepth, ResultView, Sample, WaitingJob


class Views(Protocol):
    """The page's own questions. Every method raises DatabaseUnavailable when the database does not answer."""

    async def changes(self, watched: Iterable[str]) -> Changes:
        """Return marks that differ once the fleet, or one of the `watched` jobs, has changed."""
        ...

    async def waiting(self, limit: int) -> list[WaitingJob]:
        """Return the jobs that wait, in the order in which a worker would take them, at most so many."""
        ...

    async def depths(self) -> list[LaneDepth]:
        """Return how many jobs, and how many parts of jobs, wait in each lane at each priority where some do."""
        ...

    async def parts(self, job_ids: Iterable[str]) -> list[JobRecord]:
        """Return those of these jobs that are parts of others: no list has them."""
        ...

    async def results(self, limit: int) -> list[ResultView]:
        """Return the newest completed jobs with what a page shows of them."""
        ...

    async def expectation(self, modules: Sequence[str]) -> Expectation | None:
        """Return what the newest completed jobs of these modules took; None when there are none."""
        ...

    async def note(
        self, *, actor: str, role: str, client: str, action: str, target: str, detail: dict[str, Any], outcome: str
    ) -> None:
        """Write down who did what."""
        ...

    async def audit(self, limit: int, before: int | None = None, target: str | None = None) -> list[AuditEntry]:
        """Return the newest entries first, those below the number `before`, or of one target."""
        ...

    async def sample(self, keep_seconds: float) -> None:
        """Store what each worker measured last, and forget what is older than `keep_seconds`."""
        ...

    async def samples(self, worker_id: str, limit: int) -> list[Sample]:
        """Return a worker's newest samples, oldest first."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
