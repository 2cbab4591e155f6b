"""The use cases that need the database alone, and little to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.control import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.control.query import Looking
    from worker.core.listing import JobFilter
    from worker.core.record import JobRecord, LogRecord


class DirectLooks:
    """`LookOperations` over the database."""

    def __init__(self, control: Looking) -> None:
        self._control = control

    async def find_job(self, name: str) -> JobRecord:
        """Return a job."""
        return await query.find_job(self._control, name)

    def matching_jobs(self, chosen: JobFilter, *, limit: int, details: bool = False) -> AsyncIterator[JobRecord]:
        """Yield the newest jobs that match."""
        return query.matching_jobs(self._control, chosen, limit=limit, details=details)

    async def job_log(self, job_id: str, number: int | None = None) -> LogRecord:
        """Return a job's log."""
        return await query.job_log(self._control, job_id, number)
