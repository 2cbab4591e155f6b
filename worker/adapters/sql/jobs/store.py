"""The store of jobs as operators see and steer them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.adapters.sql.attempts import lifecycle
from worker.adapters.sql.jobs import listing, logs, operator_queries, option_sets, refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.adapters.sql.database import Database
    from worker.core.job import Job
    from worker.core.listing import JobFilter, Page
    from worker.core.record import JobRecord, LogRecord, OptionSet, RefusalRecord


class SqlJobs:
    """`worker.core.ports.JobStore`, each method one transaction."""

    _database: Database

    async def submit(self, job: Job, digest: str, lane: str, priority: str, body: bytes | None = None) -> None:
        """Insert a queued row, and `body` into the outbox; IdReused when the id exists, naming `retry`."""
        await self._database.write(lifecycle.submit, job, digest, lane, priority, body)

    async def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record."""
        return await self._database.read(operator_queries.job, job_id)

    async def log(self, job_id: str, number: int | None = None) -> LogRecord | None:
        """Return the log of the job's newest attempt that has one, or of the newest with that number."""
        return await self._database.read(logs.log, job_id, number)

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state that has one."""
        return await self._database.read(listing.counts)

    async def request_cancel(self, job_id: str) -> str:
        """Return the state after asking: `cancelled` at once for a waiting or unknown job, else the present one."""
        return await self._database.write(lifecycle.request_cancel, job_id)

    async def reopen(
        self,
        job_id: str,
        digest: str | None = None,
        job: Job | None = None,
        route: tuple[str, str] | None = None,
        body: bytes | None = None,
    ) -> JobRecord:
        """Open a new round of a dead or cancelled job; InvalidJob names why another one cannot be."""
        return await self._database.write(operator_queries.reopen, job_id, digest, job, route, body)

    async def refusals(self, limit: int = 100) -> list[RefusalRecord]:
        """Return the newest refusals first."""
        return await self._database.read(refusals.list_refusals, limit)

    async def forget_refusals(self, body_sha256: str | None = None) -> int:
        """Delete the refusals of one body, or all; return how many."""
        return await self._database.write(refusals.forget_refusals, body_sha256)

    async def option_set(self, module: str, name: str) -> OptionSet | None:
        """Return one option set."""
        return await self._database.read(option_sets.option_set, module, name)

    async def option_sets(self, module: str | None = None) -> list[OptionSet]:
        """Return all option sets by module and name."""
        return await self._database.read(option_sets.list_option_sets, module)

    async def put_option_set(self, option_set: OptionSet) -> None:
        """Store or replace one."""
        await self._database.write(option_sets.put_option_set, option_set)

    async def delete_option_set(self, module: str, name: str) -> bool:
        """Return whether there was one."""
        return await self._database.write(option_sets.delete_option_set, module, name)

    async def page(self, chosen: JobFilter, limit: int = 100, cursor: str | None = None) -> Page:
        """Return the newest jobs that match, after those that `cursor` ended with."""
        return await self._database.read(listing.page, chosen, limit, cursor)

    async def with_details(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """Return the same jobs with their attempts and artifacts."""
        return await self._database.read(listing.with_details, records)

    async def ids(self, prefix: str, limit: int) -> list[str]:
        """Return ids that begin with `prefix`, the newest jobs' first."""
        return await self._database.read(listing.ids, prefix, limit)

    async def run_now(self, job_id: str) -> bool:
        """Let a retrying job be claimed at once; return whether it was retrying."""
        return await self._database.write(operator_queries.run_now, job_id)

    async def waiting_by_lane(self) -> dict[str, int]:
        """Return how many queued and retrying jobs there are in each lane that has some."""
        return await self._database.read(listing.waiting_by_lane)
