"""The recording of how deliveries end, and the removal of what ended jobs leave."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, assert_never

import structlog

from worker.core.attempt import Cancelled, Completed, Dead, Defer, Requeue, Retry, Settlement, StateChange
from worker.core.errors import CannotServe, IdReused, InvalidJob, LeaseLost, LeveretError
from worker.core.message.copies import text_of
from worker.core.policy import failure_of
from worker.core.record import RefusalRecord
from worker.core.redaction import redact
from worker.core.routing import HEADER_STANDBY
from worker.engine.attempt.excerpt import excerpt_of
from worker.engine.attempt.leftovers import delete_requested, remove_leftovers

if TYPE_CHECKING:
    from worker.core.attempt import Attempt
    from worker.core.policy import Policy, Verdict
    from worker.core.ports import Buried, Delivery, Finished
    from worker.engine.eligibility import EligibilityGate
    from worker.engine.persistence import Persistence
    from worker.engine.resources import Resources
    from worker.engine.stages import Ran, Routed

MAX_PROBLEMS: Final = 100
"""The number of faults of a refused message that are recorded."""
log = structlog.get_logger(__name__)


class Recorder:
    """Records how deliveries end. A job is settled only after the database knows how it ended."""

    def __init__(
        self,
        resources: Resources,
        policy: Policy,
        persistence: Persistence,
        gate: EligibilityGate,
        worker_id: str,
    ) -> None:
        self._resources = resources
        self._repository = resources.repository
        self._policy = policy
        self._persist = persistence.persist
        self._gate = gate
        self._worker_id = worker_id

    async def refuse(self, delivery: Delivery, digest: str, error: LeveretError) -> Settlement:
        """Record why a message is no job; it dies."""
        record = await refusal_record(delivery, digest, error, self._worker_id)
        await self._persist(lambda: self._repository.refuse(record))
        log.error("message_refused", message_id=delivery.message_id, error=record.error)
        return Settlement(Dead(failure_of(error, self._worker_id, 0)), delivery.message_id, error=error)

    async def decline(self, routed: Routed, lacking: str) -> Settlement:
        """Pass on a job of our own lane that we cannot do."""
        decoded, route = routed.decoded, (routed.lane, routed.priority)
        standby = text_of(decoded.delivery.headers, HEADER_STANDBY)
        try:
            outcome = await self._persist(
                lambda: self._gate.decline(decoded.job, decoded.digest, route, lacking, standby)
            )
        except IdReused as error:
            return await self.refuse(decoded.delivery, decoded.digest, error)
        if isinstance(outcome, Dead):
            await self._resources.on_state(StateChange.death(decoded.job, outcome.failure))
        return routed.settlement(outcome, ended=isinstance(outcome, Dead))

    async def bury_unclaimed(self, routed: Routed, digest: str, error: LeveretError) -> Settlement:
        """Record dead a job that no attempt will run."""
        job, lane, priority = routed.decoded.job, routed.lane, routed.priority
        failure = failure_of(error, self._worker_id, 0, job.secrets)
        try:
            await self._persist(lambda: self._repository.bury_unclaimed(job, digest, lane, priority, failure))
        except IdReused as reused:
            return await self.refuse(routed.decoded.delivery, digest, reused)
        log.error("job_dead", job_id=job.job_id, error=failure.message, error_type=failure.error_type)
        await self._resources.on_state(StateChange.death(job, failure))
        return routed.settlement(Dead(failure), ended=True)

    async def settle_finished(self, routed: Routed, claim: Finished) -> Settlement:
        """Finish the deletions of a job that ended before this delivery."""
        job_id = routed.decoded.job.job_id
        if claim.state == "waiting":
            return routed.settlement(Completed())
        await delete_requested(self._repository, self._resources.storages, job_id, claim.deletions)
        await self._remove_leftovers(job_id)
        return routed.settlement(Completed() if claim.state == "completed" else Cancelled())

    async def settle_buried(self, routed: Routed, claim: Buried) -> Settlement:
        """Report a job that is dead, and remove what it left."""
        job, failure = routed.decoded.job, claim.failure
        if claim.fresh:
            log.error("job_dead", job_id=job.job_id, error=failure.message, error_type=failure.error_type)
            await self._resources.on_state(StateChange.death(job, failure))
        await self._remove_leftovers(job.job_id)
        return routed.settlement(Cancelled() if job.part else Dead(failure), ended=claim.fresh)

    async def record(self, ran: Ran) -> Settlement:
        """Record the end of an attempt under its epoch; a production that ended well has recorded its own."""
        claimed, attempt = ran.claimed, ran.claimed.attempt
        if not isinstance(ran.end, BaseException):
            return claimed.settlement(ran.end, ended=isinstance(ran.end, Completed))
        verdict = self._policy.verdict(ran.end, attempt)
        try:
            await self._record_failure(attempt, verdict, ran.end)
        except LeaseLost as lost:
            # Somebody else owns the job, or our own statement was committed and only its answer was lost.
            log.warning("lease_lost", error=str(lost))
            return claimed.settlement(Defer(str(lost)), error=lost)
        ended = isinstance(verdict, Dead | Cancelled)
        if ended:
            await self._remove_leftovers(attempt.job.job_id)
        if isinstance(ran.end, CannotServe):
            self._gate.remember(claimed.routed.decoded.digest)
            return replace(await self.decline(claimed.routed, str(ran.end)), waited=claimed.waited)
        if attempt.job.part is not None and isinstance(verdict, Dead):
            # The divided job states the reason; one dead letter for each film is enough.
            return claimed.settlement(Cancelled(), error=ran.end, ended=True)
        return claimed.settlement(verdict, error=ran.end, ended=ended)

    async def _record_failure(self, attempt: Attempt, verdict: Verdict, error: BaseException) -> None:
        repository, secrets = self._repository, attempt.job.secrets
        if not isinstance(error, LeveretError):
            log.error(
                "task_error_unexpected", error=redact(repr(error), secrets), exc_info=error if not secrets else None
            )
        match verdict:
            case Retry(delay, failure):
                await self._persist(lambda: repository.retry_later(attempt, failure, delay))
                log.warning("job_retrying", error=failure.message, delay=delay)
                await self._resources.on_state(StateChange.by(attempt, "retrying", failure))
            case Dead(failure):
                await self._persist(lambda: repository.bury(attempt, failure))
                log.error("job_dead", error=failure.message, error_type=failure.error_type)
                await self._resources.on_state(StateChange.by(attempt, "dead", failure))
            case Cancelled():
                await self._persist(lambda: repository.confirm_cancel(attempt))
                log.info("job_cancelled")
                await self._resources.on_state(StateChange.by(attempt, "cancelled"))
            case Defer(reason) if not isinstance(error, LeaseLost):
                await self._persist(lambda: repository.release(attempt, "deferred", reason))
                log.warning("job_deferred", reason=reason)
                await self._resources.on_state(StateChange.by(attempt, "queued"))
            case Defer():
                log.warning("lease_lost", error=str(error))
            case Requeue():
                await self._persist(lambda: repository.release(attempt, "interrupted", str(error)))
                log.warning("job_interrupted", reason=str(error))
                await self._resources.on_state(StateChange.by(attempt, "queued"))
            case _:
                assert_never(verdict)

    async def _remove_leftovers(self, job_id: str) -> None:
        """Remove what attempts of an ended job left; a crash before this leaves it to the redelivery.

        A message of an older plan, or one that poses as a part, ends while the part with its id is being made.
        """
        repository = self._repository
        announced = await self._persist(lambda: repository.planned(job_id))
        if not announced:
            return
        record = await self._persist(lambda: repository.job(job_id))
        if record is not None and not record.is_terminal:
            return
        completed = record is not None and record.state == "completed"
        result = {artifact.uri for artifact in record.artifacts} if record and completed else None
        await remove_leftovers(self._resources.storages, job_id, sorted(announced), result)


async def refusal_record(delivery: Delivery, digest: str, error: LeveretError, worker: str) -> RefusalRecord:
    """Return the record of a message that is no job."""
    failure = failure_of(error, worker, 0)
    problems = [str(problem) for problem in error.problems] if isinstance(error, InvalidJob) else [str(error)]
    return RefusalRecord(
        refusal_id=str(uuid.uuid4()),
        message_id=delivery.message_id,
        body_sha256=digest,
        excerpt=await asyncio.to_thread(excerpt_of, delivery.body),
        error=failure.message,
        error_type=failure.error_type,
        problems=[redact(problem) for problem in problems[:MAX_PROBLEMS]],
        worker=worker,
        refused_at=datetime.now(UTC),
    )
