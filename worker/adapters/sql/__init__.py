"""The repository in SQL: SQLite for one host, PostgreSQL for a fleet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worker.adapters.sql import claim, disaster, fleet, hands, lifecycle, logs
from worker.adapters.sql.database import PATIENCE, Database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.attempt import Attempt, Failure, Progress, Result
    from worker.core.job import Job
    from worker.core.policy import Policy
    from worker.core.ports import (
        Announced,
        Claim,
        ClaimRequest,
        DatabaseFacts,
        Declined,
        Kept,
        Overdue,
        Renewal,
    )
    from worker.core.record import JobRecord, LogRecord, OptionSet, RefusalRecord, Wanted, WorkerRecord

__all__ = ["SqlRepository"]


class SqlRepository:
    """`worker.core.ports.Repository`, each method one transaction.

    `url` is `sqlite:///path` or `postgresql://user:password@host/name`; `patience` the seconds after which a
    silent database counts as away. Nothing is connected before the first call.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self._database = Database(url, patience)

    async def submit(self, job: Job, digest: str, lane: str, priority: str) -> None:
        """Insert a queued row; IdReused when the id exists, naming `retry` if that job can run again."""
        await self._database.write(lifecycle.submit, job, digest, lane, priority)

    async def adopt(self, digest: str, proposed_id: str, *, redelivered: bool) -> str:
        """Return the id for a message without one: `proposed_id`, or for a redelivered body the stored one."""
        return await self._database.write(lifecycle.adopt, digest, proposed_id, redelivered=redelivered)

    async def adopted(self, job_id: str, holder: str) -> bool:
        """Close the adoption of an id whose copy is confirmed; return whether it was still the holder's."""
        return await self._database.write(lifecycle.adopted, job_id, holder)

    async def claim(self, request: ClaimRequest, policy: Policy) -> Claim:
        """Return whether the job is ours, and if not, why. IdReused when the id has another body."""
        granted = await self._database.touch(claim.claim_unknown, request, policy)
        if granted is not None:
            return granted
        return await self._database.write(claim.claim, request, policy)

    async def renew(self, attempt: Attempt) -> Renewal:
        """Extend the lease by its length from now; LeaseLost when it is not ours any more."""
        return await self._database.touch(lifecycle.renew, attempt)

    async def report(self, attempt: Attempt, progress: Progress) -> None:
        """Store progress; a lost lease is no error here, and a terminal row is not touched."""
        await self._database.touch(lifecycle.report, attempt, progress)

    async def announce(self, attempt: Attempt, uris: Sequence[str]) -> None:
        """Set `publishing` and keep the planned URIs; JobCancelled when a cancel came first."""
        await self._database.write(lifecycle.announce, attempt, uris)

    async def planned(self, job_id: str) -> frozenset[str]:
        """Return every URI that an attempt of this job announced or published."""
        return await self._database.read(lifecycle.planned, job_id)

    async def complete(self, attempt: Attempt, result: Result) -> tuple[str, ...]:
        """Record the result; return announced URIs of earlier attempts that are no part of it."""
        work = partial(lifecycle.complete, attempt=attempt, result=result)
        return await self._database.write_many(len(result.artifacts), work)

    async def retry_later(self, attempt: Attempt, failure: Failure, delay: float) -> None:
        """Record a charged failure; the job may be claimed again after `delay` seconds."""
        await self._database.write(lifecycle.retry_later, attempt, failure, delay)

    async def bury(self, attempt: Attempt, failure: Failure) -> None:
        """Record the job dead."""
        await self._database.write(lifecycle.bury, attempt, failure)

    async def release(self, attempt: Attempt, outcome: str, reason: str) -> None:
        """Give the job back, charged to nobody; `outcome` is `interrupted` or `deferred`."""
        await self._database.write(lifecycle.release, attempt, outcome, reason)

    async def confirm_cancel(self, attempt: Attempt) -> None:
        """Record the job cancelled."""
        await self._database.write(lifecycle.confirm_cancel, attempt)

    async def deleted(self, job_id: str) -> None:
        """Note that the deletions of a completed job are done."""
        await self._database.write(lifecycle.deleted, job_id)

    async def bury_unclaimed(self, job: Job, digest: str, lane: str, priority: str, failure: Failure) -> None:
        """Record dead a job that no attempt ran (the broker dead-lettered it, or nobody serves it)."""
        await self._database.write(lifecycle.bury_unclaimed, job, digest, lane, priority, failure)

    async def decline(self, job: Job, digest: str, lane: str, priority: str, worker: str) -> Declined:
        """Note that `worker` cannot do the job; return who said so since it last ran, this one included."""
        return await self._database.write(lifecycle.decline, job, digest, lane, priority, worker)

    async def keep(self, attempt: Attempt, folder: str, files: Sequence[dict[str, Any]], seconds: float) -> None:
        """Note that the attempt's files stay in `folder` for `seconds`: a retry here need not make them again."""
        await self._database.write(fleet.keep, attempt, folder, files, seconds)

    async def kept(self, job_id: str, worker: str) -> Kept | None:
        """Return what `worker` still has of a job that has not ended and ran nowhere else since."""
        return await self._database.read(fleet.find_kept, job_id, worker)

    async def expired_kept(self, worker: str) -> list[Kept]:
        """Return what `worker` need not keep any longer: expired, or its job ended or ran elsewhere."""
        return await self._database.read(fleet.expired_kept, worker)

    async def kept_folders(self) -> list[str]:
        """Return every kept folder that still serves a retry, of all workers: cleaners leave them alone."""
        return await self._database.read(fleet.kept_folders)

    async def drop_kept(self, job_id: str, worker: str | None = None) -> None:
        """Forget what one worker, or every one, keeps of a job."""
        await self._database.write(fleet.drop_kept, job_id, worker)

    async def callback_done(self, job_id: str, *, ok: bool) -> None:
        """Note how the callback of an ended job went."""
        await self._database.write(fleet.callback_done, job_id, ok=ok)

    async def pending_callbacks(self, older_than_seconds: float) -> list[str]:
        """Return jobs that ended at least so long ago and whose callback is still due, oldest first."""
        return await self._database.read(fleet.pending_callbacks, older_than_seconds)

    async def store_log(self, attempt: Attempt, text: bytes) -> None:
        """Keep what the attempt's tools wrote so far, zlib-compressed UTF-8, in place of what was kept before."""
        await self._database.touch(logs.store_log, attempt, text)

    async def forget_logs(self, older_than_seconds: float) -> int:
        """Delete the logs that nothing was added to for so long; return how many."""
        return await self._database.write(logs.forget_logs, older_than_seconds)

    async def log(self, job_id: str, number: int | None = None) -> LogRecord | None:
        """Return the log of the job's newest attempt that has one, or of the newest with that number."""
        return await self._database.read(logs.log, job_id, number)

    async def refuse(self, refusal: RefusalRecord) -> None:
        """Record a message that never became a job; the same message twice is one row."""
        await self._database.write(hands.refuse, refusal)

    async def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record."""
        return await self._database.read(hands.job, job_id)

    async def jobs(
        self,
        state: str | None = None,
        limit: int = 100,
        *,
        lane: str | None = None,
        worker: str | None = None,
        since: float | None = None,
    ) -> list[JobRecord]:
        """Return the newest jobs first, without their attempts' and artifacts' details.

        `worker` is one that had the job, `since` the age in seconds that it has at most.
        """
        return await self._database.read(hands.list_jobs, state, limit, lane, worker, since)

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state that has one."""
        return await self._database.read(hands.counts)

    async def request_cancel(self, job_id: str) -> str:
        """Return the state after asking: `cancelled` at once for a waiting or unknown job, else the present one."""
        return await self._database.write(lifecycle.request_cancel, job_id)

    async def reopen(self, job_id: str, digest: str | None = None) -> JobRecord:
        """Open a new round of a dead or cancelled job; InvalidJob names why another one cannot be."""
        return await self._database.write(hands.reopen, job_id, digest)

    async def refusals(self, limit: int = 100) -> list[RefusalRecord]:
        """Return the newest refusals first."""
        return await self._database.read(hands.list_refusals, limit)

    async def forget_refusals(self, body_sha256: str | None = None) -> int:
        """Delete the refusals of one body, or all; return how many."""
        return await self._database.write(hands.forget_refusals, body_sha256)

    async def option_set(self, module: str, name: str) -> OptionSet | None:
        """Return one option set."""
        return await self._database.read(hands.option_set, module, name)

    async def option_sets(self, module: str | None = None) -> list[OptionSet]:
        """Return all option sets by module and name."""
        return await self._database.read(hands.list_option_sets, module)

    async def put_option_set(self, option_set: OptionSet) -> None:
        """Store or replace one."""
        await self._database.write(hands.put_option_set, option_set)

    async def delete_option_set(self, module: str, name: str) -> bool:
        """Return whether there was one."""
        return await self._database.write(hands.delete_option_set, module, name)

    async def overdue(self, seconds: float) -> list[Overdue]:
        """Return the jobs that should have gone on at least so long ago, the longest overdue first."""
        return await self._database.read(disaster.overdue, seconds)

    async def requeue(self, job_id: str, digest: str) -> bool:
        """Queue a job that is still overdue again, its message's body now `digest`; return whether it was."""
        return await self._database.write(disaster.requeue, job_id, digest)

    async def pending_deletions(self) -> dict[str, tuple[str, ...]]:
        """Return by completed job the external files that it still has to delete."""
        return await self._database.read(disaster.pending_deletions)

    async def announced(self) -> list[Announced]:
        """Return the ended jobs whose attempts announced more than their record names."""
        return await self._database.read(disaster.announced)

    async def beat(self, worker: WorkerRecord) -> Wanted:
        """Store a heartbeat; return what people want of the worker."""
        return await self._database.touch(fleet.beat, worker)

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return the workers; those silent for `offline_after` seconds are `offline`."""
        return await self._database.read(fleet.list_workers, offline_after)

    async def steer(self, worker_id: str | None, wanted: Wanted) -> list[str]:
        """Ask one worker, or all, to run, pause or drain; return the ids asked."""
        return await self._database.write(fleet.steer, worker_id, wanted)

    async def facts(self) -> DatabaseFacts:
        """Return what is known of the database itself."""
        return await self._database.read(hands.facts)

    async def check(self) -> None:
        """Return if the schema is the newest; Misconfigured names the command otherwise."""
        await self._database.read(hands.check)

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()
