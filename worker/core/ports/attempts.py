"""The statements of a worker that holds a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.core.attempt import Attempt, Failure, Progress, Result, Standby
    from worker.core.job import Job
    from worker.core.policy import Policy
    from worker.core.ports.claims import Claim, ClaimRequest, Declined, Kept, Renewal
    from worker.core.record import RefusalRecord


class AttemptStore(Protocol):
    """Claims, attempts and their ends.

    Methods that end or change an attempt are fenced by its epoch and raise LeaseLost when another epoch owns the job
    or it has ended; the same ending twice is no error, for the answer to the first may have been lost.
    """

    async def adopt(self, digest: str, proposed_id: str, *, redelivered: bool) -> str:
        """Return the id for a message without one; a redelivered body takes one whose copy was never confirmed."""
        ...

    async def adopted(self, job_id: str, holder: str) -> bool:
        """Close the adoption of an id whose copy is confirmed: it is given to no other message.

        `holder` is the id that was proposed; False when another delivery has taken the adoption meanwhile.
        """
        ...

    async def stand_by(self, job_id: str, standby: Standby) -> None:
        """Note which copy, a confirmed one, waits for a job that somebody else has.

        Where another one waits already, or somebody claimed the job meanwhile, nothing changes.
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

    async def announce(
        self, attempt: Attempt, uris: Sequence[str], own: Mapping[str, str] | None = None
    ) -> dict[str, tuple[str, ...]]:
        """Set `publishing` and keep the planned URIs; JobCancelled when a cancel came first.

        `own` are the SHA-256 of the files that may replace nothing, by URI. Returned are those that earlier attempts
        of the job were about to show there; OutputExists where another job makes one now.
        """
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
        """Record dead a job that no attempt ran (the broker dead-lettered it, or nobody serves it).

        Raises IdReused where the id belongs to another job.
        """
        ...

    async def decline(
        self, job: Job, digest: str, lane: str, priority: str, worker: str, standby: str = "", lacking: str = ""
    ) -> Declined:
        """Note that `worker` cannot do the job, for it is `lacking` that; return all who said so since it last ran.

        `standby` is the mark that the message carries of having waited. Raises IdReused where the id belongs to
        another job.
        """
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

    async def callback_done(self, job_id: str, *, error: str | None = None) -> None:
        """Record how the callback of an ended job went: `error` is why it could not be delivered."""
        ...

    async def pending_callbacks(self, older_than_seconds: float, limit: int) -> list[tuple[str, str]]:
        """Return id and callback URL of jobs that ended at least so long ago and whose callback is due, by chance.

        Of one URL there are at most a tenth of `limit`: a receiver that is away keeps no other one waiting.
        """
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
