"""The queries and commands of operators about jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.job import Job
    from worker.core.listing import JobFilter, Page
    from worker.core.record import JobRecord, LogRecord, OptionSet, RefusalRecord, WorkerRecord


class JobStore(Protocol):
    """Jobs as operators see and steer them, their logs, the refused messages and the option sets."""

    async def submit(self, job: Job, digest: str, lane: str, priority: str, body: bytes | None = None) -> None:
        """Insert a queued row, and `body` into the outbox; IdReused, naming `retry`, when the id exists."""
        ...

    async def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record."""
        ...

    async def log(self, job_id: str, number: int | None = None) -> LogRecord | None:
        """Return the log of the job's newest attempt that has one, or of the newest with that number."""
        ...

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state that has one."""
        ...

    async def request_cancel(self, job_id: str) -> str:
        """Return the state after asking: `cancelled` at once for a waiting or unknown job, else the present one."""
        ...

    async def reopen(
        self,
        job_id: str,
        digest: str | None = None,
        job: Job | None = None,
        route: tuple[str, str] | None = None,
        body: bytes | None = None,
    ) -> JobRecord:
        """Open a new round of a dead or cancelled job; InvalidJob names why another one cannot be.

        `job` and its `route` (lane, priority) take the place of the stored document; `body` goes into the outbox.
        """
        ...

    async def refusals(self, limit: int = 100) -> list[RefusalRecord]:
        """Return the newest refusals first."""
        ...

    async def forget_refusals(self, body_sha256: str | None = None) -> int:
        """Delete the refusals of one body, or all; return how many."""
        ...

    async def option_set(self, module: str, name: str) -> OptionSet | None:
        """Return one option set."""
        ...

    async def option_sets(self, module: str | None = None) -> list[OptionSet]:
        """Return all option sets by module and name."""
        ...

    async def put_option_set(self, option_set: OptionSet) -> None:
        """Store or replace one."""
        ...

    async def delete_option_set(self, module: str, name: str) -> bool:
        """Return whether there was one."""
        ...

    async def page(self, chosen: JobFilter, limit: int = 100, cursor: str | None = None) -> Page:
        """Return the newest jobs that match, after those that `cursor` ended with.

        They come without their attempts, artifacts and documents. InvalidCursor for a cursor that is none of ours.
        """
        ...

    async def with_details(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """Return the same jobs with their attempts and artifacts."""
        ...

    async def ids(self, prefix: str, limit: int) -> list[str]:
        """Return ids that begin with `prefix`, the newest jobs' first."""
        ...

    async def run_now(self, job_id: str) -> bool:
        """Let a retrying job be claimed at once; return whether it was retrying."""
        ...

    async def waiting_by_lane(self) -> dict[str, int]:
        """Return how many queued and retrying jobs there are in each lane that has some."""
        ...


class JobLookups(Protocol):
    """The part of the stores that looking at jobs needs: a waiting job's reason is in the fleet."""

    async def job(self, job_id: str) -> JobRecord | None:
        """Return as `JobStore` does."""
        ...

    async def log(self, job_id: str, number: int | None = None) -> LogRecord | None:
        """Return as `JobStore` does."""
        ...

    async def page(self, chosen: JobFilter, limit: int = 100, cursor: str | None = None) -> Page:
        """Return as `JobStore` does."""
        ...

    async def with_details(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """Return as `JobStore` does."""
        ...

    async def ids(self, prefix: str, limit: int) -> list[str]:
        """Return as `JobStore` does."""
        ...

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return as `FleetStore` does."""
        ...
