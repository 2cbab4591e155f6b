"""The database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.attempt import Attempt, Failure, Progress, Result
    from worker.core.job import Job
    from worker.core.policy import Policy
    from worker.core.ports.claims import Announced, Claim, ClaimRequest, DatabaseFacts, Declined, Kept, Overdue, Renewal
    from worker.core.record import JobRecord, LogRecord, OptionSet, RefusalRecord, Wanted, WorkerRecord


class Repository(Protocol):
    """Jobs, attempts, artifacts, workers, option sets and refusals.

    Every method raises DatabaseUnavailable when the database does not answer. Those that end or change an
    attempt are fenced by its epoch and raise LeaseLost when another epoch owns the job or it has ended; the same
    ending twice is no error, for the answer to the first may have been lost.
    Times are the database's clock.
    """

    # the life of a job
    async def submit(self, job: Job, digest: str, lane: str, priority: str) -> None:
        """Insert a queued row; IdReused, naming `retry`, when the id exists."""
        ...

    async def adopt(self, digest: str, proposed_id: str, *, redelivered: bool) -> str:
        """Return the id for a message without one; a redelivered body takes one whose copy was never confirmed."""
        ...

    async def adopted(self, job_id: str, holder: str) -> bool:
        """Close the adoption of an id whose copy is confirmed: it is given to no other message.

        `holder` is the id that was proposed; False when another delivery has taken the adoption meanwhile.
        """
        ...

    async def claim(self, request: ClaimRequest, policy: Policy) -> Claim:
        """Return whether the job is ours, and if not, why. IdReused when the id has another body."""
        ...

    async def renew(self, attempt: Attempt) -> Renewal:
        """Extend the lease by its length from now; LeaseLost when it is not ours any more."""
        ...

    async def report(self, attempt: Attempt, progress: Progress) -> None:
        """Store progress; a lost lease is no error here, and a terminal row is not touched."""
        ...

    async def announce(self, attempt: Attempt, uris: Sequence[str]) -> None:
        """Set `publishing` and keep the planned URIs; JobCancelled when a cancel came first."""
        ...

    async def planned(self, job_id: str) -> frozenset[str]:
        """Return every URI that an attempt of this job announced or published."""
        ...

    async def complete(self, attempt: Attempt, result: Result) -> tuple[str, ...]:
        """Record the result; return announced URIs of earlier attempts that are no part of it."""
        ...

    async def retry_later(self, attempt: Attempt, failure: Failure, delay: float) -> None:
        """Record a charged failure; the job may be claimed again after `delay` seconds."""
        ...

    async def bury(self, attempt: Attempt, failure: Failure) -> None:
        """Record the job dead."""
        ...

    async def release(self, attempt: Attempt, outcome: str, reason: str) -> None:
        """Give the job back, charged to nobody; `outcome` is `interrupted` or `deferred`."""
        ...

    async def confirm_cancel(self, attempt: Attempt) -> None:
        """Record the job cancelled."""
        ...

    async def deleted(self, job_id: str) -> None:
        """Note that the deletions of a completed job are done."""
        ...

    async def bury_unclaimed(self, job: Job, digest: str, lane: str, priority: str, failure: Failure) -> None:
        """Record dead a job that no attempt ran (the broker dead-lettered it, or nobody serves it)."""
        ...

    async def decline(self, job: Job, digest: str, lane: str, priority: str, worker: str) -> Declined:
        """Note that `worker` cannot do the job; return who said so since it last ran, this one included."""
        ...

    async def keep(self, attempt: Attempt, folder: str, files: Sequence[dict[str, Any]], seconds: float) -> None:
        """Note that the attempt's files stay in `folder` for `seconds`: a retry here need not make them again."""
        ...

    async def kept(self, job_id: str, worker: str) -> Kept | None:
        """Return what `worker` still has of a job that has not ended and ran nowhere else since."""
        ...

    async def expired_kept(self, worker: str) -> list[Kept]:
        """Return what `worker` need not keep any longer: expired, or its job ended or ran elsewhere."""
        ...

    async def kept_folders(self) -> list[str]:
        """Return every kept folder that still serves a retry, of all workers: cleaners leave them alone."""
        ...

    async def drop_kept(self, job_id: str, worker: str | None = None) -> None:
        """Forget what one worker, or every one, keeps of a job."""
        ...

    async def callback_done(self, job_id: str, *, ok: bool) -> None:
        """Note how the callback of an ended job went."""
        ...

    async def pending_callbacks(self, older_than_seconds: float) -> list[str]:
        """Return jobs that ended at least so long ago and whose callback is still due, oldest first."""
        ...

    async def store_log(self, attempt: Attempt, text: bytes) -> None:
        """Keep what the attempt's tools wrote so far, zlib-compressed UTF-8, in place of what was kept before."""
        ...

    async def forget_logs(self, older_than_seconds: float) -> int:
        """Delete the logs that nothing was added to for so long; return how many."""
        ...

    async def refuse(self, refusal: RefusalRecord) -> None:
        """Record a message that never became a job; the same message twice is one row."""
        ...

    # people's hands
    async def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record."""
        ...

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

    async def reopen(self, job_id: str, digest: str | None = None) -> JobRecord:
        """Open a new round of a dead or cancelled job; InvalidJob names why another one cannot be."""
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

    # after a disaster
    async def overdue(self, seconds: float) -> list[Overdue]:
        """Return the jobs that should have gone on at least so long ago, the longest overdue first."""
        ...

    async def requeue(self, job_id: str, digest: str) -> bool:
        """Queue a job that is still overdue again, its message's body now `digest`; return whether it was."""
        ...

    async def pending_deletions(self) -> dict[str, tuple[str, ...]]:
        """Return by completed job the external files that it still has to delete."""
        ...

    async def announced(self) -> list[Announced]:
        """Return the ended jobs whose attempts announced more than their record names."""
        ...

    # the fleet
    async def beat(self, worker: WorkerRecord) -> Wanted:
        """Store a heartbeat; return what people want of the worker."""
        ...

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return the workers; those silent for `offline_after` seconds are `offline`."""
        ...

    async def steer(self, worker_id: str | None, wanted: Wanted) -> list[str]:
        """Ask one worker, or all, to run, pause or drain; return the ids asked."""
        ...

    async def facts(self) -> DatabaseFacts:
        """Return what is known of the database itself."""
        ...

    async def check(self) -> None:
        """Return if the schema is the newest; Misconfigured names the command otherwise."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
