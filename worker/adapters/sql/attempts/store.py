"""The store of claims, attempts and their ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worker.adapters.sql.attempts import aftermath, claim, first_claim, lifecycle, unclaimed
from worker.adapters.sql.database.durability import Durability
from worker.adapters.sql.jobs import logs, refusals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.adapters.sql.database import Database
    from worker.core.attempt import Attempt, Failure, Progress, Result, Standby
    from worker.core.job import Job
    from worker.core.policy import Policy
    from worker.core.ports import Claim, ClaimRequest, Declined, Granted, Kept, Renewal
    from worker.core.record import RefusalRecord


class SqlAttempts:
    """`worker.core.ports.AttemptStore`, each method one transaction."""

    _database: Database

    async def adopt(self, digest: str, proposed_id: str, *, redelivered: bool) -> str:
        """Return the id for a message without one; a redelivered body takes one whose copy was never confirmed."""
        return await self._database.write(lifecycle.adopt, digest, proposed_id, redelivered=redelivered)

    async def stand_by(self, job_id: str, standby: Standby) -> None:
        """Note which copy, a confirmed one, waits for the job; one that waits already stays it."""
        await self._database.write(lifecycle.stand_by, job_id, standby)

    async def adopted(self, job_id: str, holder: str) -> bool:
        """Close the adoption of an id whose copy is confirmed; return whether it was still the holder's."""
        return await self._database.write(lifecycle.adopted, job_id, holder)

    async def claim(self, request: ClaimRequest, policy: Policy) -> Claim:
        """Return whether the job is ours, and if not, why. IdReused when the id has another body."""
        # A part has a row since its job was planned: no message of a publisher makes one.
        if request.job.part is None and (granted := await self._claim_unknown(request, policy)):
            return granted
        return await self._database.write(claim.claim, request, policy, self._database.steady_seconds)

    async def _claim_unknown(self, request: ClaimRequest, policy: Policy) -> Granted | None:
        """Return the first attempt of a job that has no row yet, None when it has one.

        This need not wait for the disk: nobody sees anything of an attempt before `announce`, `divide` or an end, which
        wait for all that was written before them, and which find a job lost whose claim a power cut took back.
        """
        if not self._database.commits_alone:
            return await self._database.write_relaxed(first_claim.claim_unknown, request, policy)
        row = await self._database.write_one(first_claim.claim_at_once(request, policy), Durability.RELAXED)
        return None if row is None else first_claim.granted_at_once(request, row)

    async def renew(self, attempt: Attempt) -> Renewal:
        """Extend the lease by its length from now; LeaseLost when it is not ours any more."""
        return await self._database.write_relaxed(lifecycle.renew, attempt)

    async def report(self, attempt: Attempt, progress: Progress) -> None:
        """Store progress; a lost lease is no error here, and a terminal row is not touched."""
        await self._database.write_relaxed(lifecycle.report, attempt, progress)

    async def announce(
        self, attempt: Attempt, uris: Sequence[str], own: Mapping[str, str] | None = None
    ) -> dict[str, tuple[str, ...]]:
        """Set `publishing` and keep the planned URIs; JobCancelled when a cancel came first."""
        return await self._database.write(lifecycle.announce, attempt, uris, own or {})

    async def planned(self, job_id: str) -> frozenset[str]:
        """Return every URI that an attempt of this job announced or published."""
        return await self._database.read(lifecycle.planned, job_id)

    async def complete(self, attempt: Attempt, result: Result) -> tuple[str, ...]:
        """Record the result; return announced URIs of earlier attempts that are no part of it."""
        if (
            self._database.commits_alone
            and lifecycle.is_plain(attempt, result)
            and await self._database.write_one(lifecycle.complete_at_once(attempt, result))
        ):
            return ()
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
        """Record dead a job that no attempt ran (the broker dead-lettered it, or nobody serves it).

        Raises IdReused where the id belongs to another job.
        """
        await self._database.write(unclaimed.bury_unclaimed, job, digest, lane, priority, failure)

    async def decline(
        self, job: Job, digest: str, lane: str, priority: str, worker: str, standby: str = "", lacking: str = ""
    ) -> Declined:
        """Note that `worker` cannot do the job, for it is `lacking` that; return all who said so since it last ran.

        Raises IdReused where the id belongs to another job.
        """
        return await self._database.write(unclaimed.decline, job, digest, (lane, priority), worker, standby, lacking)

    async def keep(self, attempt: Attempt, folder: str, files: Sequence[dict[str, Any]], seconds: float) -> None:
        """Note that the attempt's files stay in `folder` for `seconds`: a retry here need not make them again."""
        await self._database.write(aftermath.keep, attempt, folder, files, seconds)

    async def kept(self, job_id: str, worker: str) -> Kept | None:
        """Return what `worker` still has of a job that has not ended and ran nowhere else since."""
        return await self._database.read(aftermath.find_kept, job_id, worker)

    async def expired_kept(self, worker: str) -> list[Kept]:
        """Return what `worker` need not keep any longer: expired, or its job ended or ran elsewhere."""
        return await self._database.read(aftermath.expired_kept, worker)

    async def kept_folders(self) -> list[str]:
        """Return every kept folder that still serves a retry, of all workers: cleaners leave them alone."""
        return await self._database.read(aftermath.kept_folders)

    async def drop_kept(self, job_id: str, worker: str | None = None) -> None:
        """Forget what one worker, or every one, keeps of a job."""
        await self._database.write(aftermath.drop_kept, job_id, worker)

    async def callback_done(self, job_id: str, *, error: str | None = None) -> None:
        """Record how the callback of an ended job went: `error` is why it could not be delivered."""
        await self._database.write(aftermath.callback_done, job_id, error=error)

    async def pending_callbacks(self, older_than_seconds: float, limit: int) -> list[tuple[str, str]]:
        """Return id and URL of callbacks that are due for at least so long, by chance, few of one URL."""
        return await self._database.read(aftermath.pending_callbacks, older_than_seconds, limit)

    async def store_log(self, attempt: Attempt, text: bytes) -> None:
        """Keep what the attempt's tools wrote so far, zlib-compressed UTF-8, in place of what was kept before."""
        await self._database.write_relaxed(logs.store_log, attempt, text)

    async def forget_logs(self, older_than_seconds: float) -> int:
        """Delete the logs that nothing was added to for so long; return how many."""
        return await self._database.write(logs.forget_logs, older_than_seconds)

    async def refuse(self, refusal: RefusalRecord) -> None:
        """Record a message that never became a job; the same message twice is one row."""
        await self._database.write(refusals.refuse, refusal)
