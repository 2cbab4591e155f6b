"""From a delivery to its settlement: decode, claim, run, settle. The only place that settles a message."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar, assert_never

import structlog

from worker.core.attempt import Cancelled, Completed, Dead, Defer, Forward, Requeue, Retry, StateChange
from worker.core.errors import (
    BrokerUnavailable,
    CannotServe,
    DatabaseUnavailable,
    IdReused,
    Interrupted,
    InvalidJob,
    LeaseLost,
    LeveretError,
    ShuttingDown,
)
from worker.core.message.dialects import decode
from worker.core.policy import failure_of
from worker.core.ports import Buried, ClaimRequest, Finished, Granted, Settled, Waiting
from worker.core.redaction import redact
from worker.core.routing import (
    DEFAULT_PRIORITY,
)
from worker.engine.attempt.lease import Lease
from worker.engine.attempt.leftovers import clear, tidy
from worker.engine.attempt.run import AttemptRun
from worker.engine.intake import claim_request, real_route, refusal, waited
from worker.engine.unserved import Unservable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.attempt import Attempt, Outcome
    from worker.core.job import Job
    from worker.core.policy import Policy
    from worker.core.ports import Delivery
    from worker.engine.attempt.run import Bench

UNSERVED_SECONDS: Final = 3600.0
OFFLINE_SECONDS: Final = 15.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a delivery is to be settled, and under which id and route a copy of it goes on.

    `error` is what a failed attempt ended with; `ended` says that this delivery brought its job to its end,
    `calls_back` that somebody wants to be told then. `waited` is the seconds before its first attempt.
    """

    outcome: Outcome
    job_id: str | None = None
    lane: str = ""
    priority: str = DEFAULT_PRIORITY
    error: BaseException | None = None
    ended: bool = False
    modules: tuple[str, ...] = ()
    waited: float | None = None
    calls_back: bool = False


class Executor:
    """Runs one delivery at a time."""

    def __init__(
        self,
        bench: Bench,
        policy: Policy,
        *,
        worker_id: str,
        lanes: tuple[str, ...],
        lease_seconds: float,
        unserved_seconds: float = UNSERVED_SECONDS,
        offline_seconds: float = OFFLINE_SECONDS,
    ) -> None:
        self._bench = bench
        self._policy = policy
        self._worker_id = worker_id
        self._lanes = lanes
        self._lease_seconds = lease_seconds
        self._unservable = Unservable(bench, worker_id, unserved_seconds, offline_seconds)
        self._lease: Lease | None = None
        self._interrupted: LeveretError | None = None
        self._running: asyncio.Task[None] | None = None
        self.job: Job | None = None

    async def execute(self, delivery: Delivery) -> Settlement:
        """Run the job of a delivery and settle it; return how.

        A job is settled only after the database knows how it ended, so a crash between any two steps repeats
        work, and never loses it.
        """
        started = time.monotonic()
        try:
            settlement = await self._decide(delivery)
        except Interrupted as error:
            # Told to go while the database is away: whoever gets the message next finds what the rows say then.
            settlement = Settlement(Requeue(), delivery.message_id, error=error)
        await self._bench.on_step("settling")
        known = await self._settle(delivery, settlement)
        await self._bench.on_step("settled")
        self._bench.observer.settled(
            Settled(
                outcome=settlement.outcome,
                lane=settlement.lane,
                priority=settlement.priority,
                modules=settlement.modules,
                seconds=time.monotonic() - started,
                waited=settlement.waited,
                error=settlement.error,
                ended=settlement.ended,
            )
        )
        outcome = settlement.outcome
        why = {"reason": outcome.reason} if isinstance(outcome, Defer) else {}
        log.info("settled", job_id=settlement.job_id, outcome=type(outcome).__name__, acknowledged=known, **why)
        return settlement

    def interrupt(self, error: LeveretError) -> None:
        """End the running attempt with `error` (ShuttingDown): its tools are killed, the job is given back."""
        self._interrupted = error
        if self._lease is not None:
            self._lease.end(error)
        if self._running is not None:
            self._running.cancel()

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> bool:
        try:
            return await delivery.settle(settlement.outcome, settlement.job_id, settlement.lane, settlement.priority)
        except BrokerUnavailable as error:
            # No copy stands anywhere: the original must come back, and the database knows what was decided.
            log.warning("copy_not_confirmed", job_id=settlement.job_id, error=str(error))
            return await delivery.settle(Requeue())

    # ------------------------------------------------------------------ decode, route, claim

    async def _decide(self, delivery: Delivery) -> Settlement:
        digest = hashlib.sha256(delivery.body).hexdigest()
        try:
            job = decode(delivery.body, delivery.message_id)
        except InvalidJob as error:
            return await self._refuse(delivery, digest, error)
        lane, priority, needed = real_route(delivery, job, self._bench.registry, self._lanes[0])
        if not job.job_id:
            return await self._adopt(delivery, digest, lane, priority)
        if lane not in self._lanes:
            return Settlement(Forward(job.job_id, lane, priority), job.job_id, lane, priority)
        modules = tuple(spec.module for spec in job.tasks)
        base = Settlement(Completed(), job.job_id, lane, priority, modules=modules, calls_back=bool(job.callback_url))
        if lacking := await self._persist(lambda: self._unservable.lacking(job, digest, needed)):
            return await self._declined(base, job, digest, lacking)
        request = claim_request(
            delivery,
            job,
            digest,
            worker=self._worker_id,
            lease_seconds=self._lease_seconds,
            route=(lane, priority),
        )
        return await self._claimed(delivery, request, base)

    async def _claimed(self, delivery: Delivery, request: ClaimRequest, base: Settlement) -> Settlement:
        """Claim the job, and run it if it is ours."""
        job, digest = request.job, request.digest
        try:
            claim = await self._persist(lambda: self._bench.repository.claim(request, self._policy))
        except IdReused as error:
            return await self._refuse(delivery, digest, error)
        match claim:
            case Granted(attempt):
                since = waited(delivery.headers, attempt)
                return await self._attempt(attempt, replace(base, waited=since), digest)
            case Finished(state, deletions):
                await tidy(self._bench.repository, self._bench.storages, job.job_id, deletions)
                await self._clear(job.job_id)
                return replace(base, outcome=Completed() if state == "completed" else Cancelled())
            case Waiting(reason):
                return replace(base, outcome=Defer(reason))
            case Buried(failure, fresh):
                if fresh:
                    log.error("job_dead", job_id=job.job_id, error=failure.message, error_type=failure.error_type)
                    await self._bench.on_state(StateChange.death(job, failure))
                await self._clear(job.job_id)
                return replace(base, outcome=Dead(failure), ended=fresh)
            case _:
                assert_never(claim)

    async def _declined(self, base: Settlement, job: Job, digest: str, lacking: str) -> Settlement:
        """Pass on a job of our own lane that we cannot do."""
        outcome = await self._persist(lambda: self._unservable.decline(job, digest, base.lane, base.priority, lacking))
        if isinstance(outcome, Dead):
            await self._bench.on_state(StateChange.death(job, outcome.failure))
        return replace(base, outcome=outcome, ended=isinstance(outcome, Dead))

    async def _adopt(self, delivery: Delivery, digest: str, lane: str, priority: str) -> Settlement:
        """Give a message without an id one, by a copy that carries it: a redelivery finds the same id."""
        repository, proposed = self._bench.repository, str(uuid.uuid4())
        job_id = await self._persist(lambda: repository.adopt(digest, proposed, redelivered=delivery.redelivered))
        return Settlement(Forward(job_id, lane, priority), job_id, lane, priority)

    async def _refuse(self, delivery: Delivery, digest: str, error: LeveretError) -> Settlement:
        """Record why a message is no job, then let it die."""
        record = await refusal(delivery, digest, error, self._worker_id)
        await self._persist(lambda: self._bench.repository.refuse(record))
        log.error("message_refused", message_id=delivery.message_id, error=record.error)
        return Settlement(Dead(failure_of(error, self._worker_id, 0)), delivery.message_id, error=error)

    # ------------------------------------------------------------------ run, and record how it ended

    async def _attempt(self, attempt: Attempt, base: Settlement, digest: str) -> Settlement:
        job = attempt.job
        structlog.contextvars.bind_contextvars(job_id=job.job_id, attempt=attempt.number, lane=base.lane)
        self.job = job
        log.info("job_started", title=job.title, round=attempt.round, epoch=attempt.epoch)
        await self._bench.on_state(StateChange.by(attempt, "running"))
        try:
            error = await self._run(attempt)
            if error is None:
                return replace(base, ended=True)
            settlement = await self._failed(attempt, base, error)
            if isinstance(settlement.error, CannotServe):
                self._unservable.learn(digest)
                return await self._declined(base, job, digest, str(error))
            return settlement
        finally:
            self.job = None
            structlog.contextvars.unbind_contextvars("job_id", "attempt", "lane")

    async def _run(self, attempt: Attempt) -> BaseException | None:
        """Return what ended the attempt, or None when the job is completed and recorded."""
        self._lease = Lease(self._bench.repository, attempt)
        self._running = asyncio.create_task(AttemptRun(self._bench, attempt, self._lease).execute())
        self._lease.start(self._running.cancel)
        try:
            await self._bench.on_step("claimed")
            await asyncio.wait({self._running})
            return self._end_of(self._running, self._lease)
        finally:
            await self._lease.stop()
            self._lease = self._running = None

    @staticmethod
    def _end_of(running: asyncio.Task[None], lease: Lease) -> BaseException | None:
        if running.cancelled():
            return lease.ended or ShuttingDown("the worker is going down")
        return running.exception()

    async def _failed(self, attempt: Attempt, base: Settlement, error: BaseException) -> Settlement:
        """Record a failed attempt under its epoch and return how its delivery is settled."""
        repository, job = self._bench.repository, attempt.job
        verdict = self._policy.verdict(error, attempt)
        if not isinstance(error, LeveretError):
            log.error(
                "task_raised", error=redact(repr(error), job.secrets), exc_info=error if not job.secrets else None
            )
        try:
            match verdict:
                case Retry(delay, failure):
                    await self._persist(lambda: repository.retry_later(attempt, failure, delay))
                    log.warning("job_retrying", error=failure.message, delay=delay)
                    await self._bench.on_state(StateChange.by(attempt, "retrying", failure))
                case Dead(failure):
                    await self._persist(lambda: repository.bury(attempt, failure))
                    log.error("job_dead", error=failure.message, error_type=failure.error_type)
                    await self._bench.on_state(StateChange.by(attempt, "dead", failure))
                case Cancelled():
                    await self._persist(lambda: repository.confirm_cancel(attempt))
                    log.info("job_cancelled")
                    await self._bench.on_state(StateChange.by(attempt, "cancelled"))
                case Defer(reason) if not isinstance(error, LeaseLost):
                    await self._persist(lambda: repository.release(attempt, "deferred", reason))
                    log.warning("job_deferred", reason=reason)
                    await self._bench.on_state(StateChange.by(attempt, "queued"))
                case Defer():
                    log.warning("lease_lost", error=str(error))
                case Requeue():
                    await self._persist(lambda: repository.release(attempt, "interrupted", str(error)))
                    log.warning("job_interrupted", reason=str(error))
                    await self._bench.on_state(StateChange.by(attempt, "queued"))
                case _:
                    assert_never(verdict)
        except LeaseLost as lost:
            # Somebody else owns the job, or our own statement stood and only its answer was lost.
            log.warning("lease_lost", error=str(lost))
            return replace(base, outcome=Defer(str(lost)), error=lost)
        ended = isinstance(verdict, Dead | Cancelled)
        if ended:
            await self._clear(job.job_id)
        return replace(base, outcome=verdict, error=error, ended=ended)

    async def _clear(self, job_id: str) -> None:
        """Remove what attempts of an ended job left; a crash before this leaves it to the redelivery."""
        repository = self._bench.repository
        announced = await self._persist(lambda: repository.planned(job_id))
        if not announced:
            return
        record = await self._persist(lambda: repository.job(job_id))
        completed = record is not None and record.state == "completed"
        result = {artifact.uri for artifact in record.artifacts} if record and completed else None
        await clear(self._bench.storages, job_id, sorted(announced), result)

    async def _persist(self, statement: Callable[[], Awaitable[T]]) -> T:
        """Return what a statement returns, however long the database is away: the delivery is held meanwhile."""
        pause = 0.2
        while True:
            try:
                return await statement()
            except DatabaseUnavailable as error:
                if self._interrupted is not None:
                    raise self._interrupted from error
                log.warning("database_unavailable", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
