"""The life of a job: decode, route, claim, run, record, settle. The only place that settles a job's message."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

import structlog

from worker.core.attempt import Defer, Divided, Forward, Requeue, Settlement, Standby, StateChange, Surplus
from worker.core.errors import (
    IdReused,
    Interrupted,
    InvalidJob,
    LeaseLost,
    LeveretError,
    ShuttingDown,
    Unserved,
)
from worker.core.message.copies import MAX_HOPS, count_of
from worker.core.message.dialects import decode
from worker.core.ports import Buried, Finished, Granted, Waiting
from worker.core.routing import HEADER_HOPS
from worker.engine.attempt.lease import Lease
from worker.engine.eligibility import EligibilityGate
from worker.engine.parts.outbox import publish_outbox
from worker.engine.persistence import Persistence
from worker.engine.recorder import Recorder
from worker.engine.stages import Claimed, Decoded, Ran, Routed, claim_request, real_route, seconds_waited

if TYPE_CHECKING:
    from worker.core.job import Job
    from worker.core.policy import Policy
    from worker.core.ports import Delivery, Produced, Production
    from worker.core.ports.broker import OnConfirmed
    from worker.engine.resources import Resources

UNSERVED_SECONDS: Final = 3600.0
OFFLINE_SECONDS: Final = 15.0

log = structlog.get_logger(__name__)


class Executor:
    """Runs one delivery at a time; a host may have several executors."""

    def __init__(
        self,
        resources: Resources,
        policy: Policy,
        production: Production,
        *,
        worker_id: str,
        lanes: tuple[str, ...],
        lease_seconds: float,
        long_lease_seconds: float = 0.0,
        unserved_seconds: float = UNSERVED_SECONDS,
        offline_seconds: float = OFFLINE_SECONDS,
    ) -> None:
        self._resources = resources
        self._policy = policy
        self._production = production
        self._worker_id = worker_id
        self._lanes = lanes
        self._leases = (lease_seconds, long_lease_seconds)
        self._persistence = Persistence()
        self._gate = EligibilityGate(resources, worker_id, unserved_seconds, offline_seconds)
        self._recorder = Recorder(resources, policy, self._persistence, self._gate, worker_id)
        self._lease: Lease | None = None
        self._running: asyncio.Task[Produced] | None = None
        self._settling: asyncio.Task[bool] | None = None
        self.job: Job | None = None

    async def execute(self, delivery: Delivery) -> Settlement:
        """Run the job of a delivery and settle it; return how.

        Each step takes what the one before it returned. A step that decides how the delivery is settled returns a
        Settlement, and the steps after it have nothing to do. A crash between any two steps repeats work, and never
        loses it: a job is settled only after the database knows how it ended.
        """
        started = time.monotonic()
        decoded: Decoded | Settlement | None = None
        try:
            decoded = await self._decode(delivery)
            routed = await self._route(decoded) if isinstance(decoded, Decoded) else decoded
            claimed = await self._claim(routed) if isinstance(routed, Routed) else routed
            ran = await self._run(claimed) if isinstance(claimed, Claimed) else claimed
            settlement = await self._recorder.record(ran) if isinstance(ran, Ran) else ran
        except Interrupted as error:
            # The worker stops while the database is away: the next worker reads from it how the job is.
            settlement = Settlement(Requeue(), delivery.message_id, error=error)
        finally:
            self.job = None
            structlog.contextvars.unbind_contextvars("job_id", "attempt", "lane")
        if isinstance(settlement.outcome, Divided) or (isinstance(decoded, Decoded) and decoded.job.part):
            await publish_outbox(self._resources)
        await self._settle(delivery, settlement)
        self._resources.observer.settled(settlement, time.monotonic() - started)
        return settlement

    def interrupt(self, error: LeveretError) -> None:
        """End the running attempt with `error` (ShuttingDown): its tools are killed, the job is given back."""
        self._persistence.interrupted = error
        if self._lease is not None:
            self._lease.end(error)
        for task in (self._running, self._settling):
            if task is not None:
                task.cancel()

    # ------------------------------------------------------------------ the steps

    async def _decode(self, delivery: Delivery) -> Decoded | Settlement:
        """Return the job that a delivery describes; a message that is no job is recorded and dies."""
        digest = hashlib.sha256(delivery.body).hexdigest()
        try:
            return Decoded(delivery, digest, decode(delivery.body, delivery.message_id))
        except InvalidJob as error:
            return await self._recorder.refuse(delivery, digest, error)

    async def _route(self, decoded: Decoded) -> Routed | Settlement:
        """Return the job with its real route, if this worker may run it; otherwise how it is passed on or put off."""
        job = decoded.job
        lane, priority, needed = real_route(decoded.delivery, job, self._resources.registry, self._lanes[0])
        routed = Routed(decoded, lane, priority, needed)
        if not job.job_id:
            return await self._adopt(routed)
        if lane not in self._lanes:
            return await self._forward(routed, count_of(decoded.delivery.headers, HEADER_HOPS, 0))
        if lacking := await self._persistence.persist(
            lambda: self._gate.missing_requirement(job, decoded.digest, needed)
        ):
            return await self._recorder.decline(routed, lacking)
        return routed

    async def _claim(self, routed: Routed) -> Claimed | Settlement:
        """Return the attempt that the database grants; otherwise a Settlement by the state of the job there."""
        delivery, job, digest = routed.decoded.delivery, routed.decoded.job, routed.decoded.digest
        request = claim_request(
            delivery,
            job,
            digest,
            worker=self._worker_id,
            leases=self._leases,
            route=(routed.lane, routed.priority),
        )
        try:
            claim = await self._persistence.persist(lambda: self._resources.repository.claim(request, self._policy))
        except IdReused as error:
            return await self._recorder.refuse(delivery, digest, error)
        match claim:
            case Granted(attempt):
                return Claimed(routed, attempt, seconds_waited(delivery.headers, attempt))
            case Finished():
                return await self._recorder.settle_finished(routed, claim)
            case Waiting(has_standby=True):
                return routed.settlement(Surplus())
            case Waiting(reason, seconds, epoch):
                return routed.settlement(Defer(reason, seconds=seconds, standby=Standby(epoch, request.standby)))
            case Buried():
                return await self._recorder.settle_buried(routed, claim)
            case _:
                assert_never(claim)

    async def _run(self, claimed: Claimed) -> Ran:
        """Return how the attempt ended, after its production is over and its lease is not renewed any more."""
        attempt = claimed.attempt
        self.job = attempt.job
        structlog.contextvars.bind_contextvars(
            job_id=attempt.job.job_id, attempt=attempt.number, lane=claimed.routed.lane
        )
        log.info("job_started", title=attempt.job.title, round=attempt.round, epoch=attempt.epoch)
        await self._resources.on_state(StateChange.by(attempt, "running"))
        self._lease = lease = Lease(self._resources.repository, attempt)
        self._running = running = asyncio.ensure_future(self._production.execute(attempt, lease))
        lease.start(running.cancel)
        try:
            await self._resources.on_step("claimed")
            await asyncio.wait({running})
        finally:
            await lease.stop()
            self._lease = self._running = None
        if running.cancelled():
            return Ran(claimed, lease.ended or ShuttingDown("the worker is going down"))
        return Ran(claimed, running.exception() or running.result())

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """Settle the delivery: the only effect that the broker sees.

        While the broker takes no copy the delivery is held; when the worker goes down meanwhile, it is given back,
        and the database knows what was decided.
        """
        await self._resources.on_step("settling")
        outcome, job_id = settlement.outcome, settlement.job_id
        self._settling = settling = asyncio.ensure_future(delivery.settle(settlement, self._on_confirmed(settlement)))
        try:
            await asyncio.wait({settling})
        finally:
            self._settling = None
            settling.cancel()
        try:
            known = settling.result()
        except (asyncio.CancelledError, LeveretError) as error:
            log.warning("copy_not_confirmed", job_id=job_id, error=str(error))
            await delivery.give_back()
            known = False
        await self._resources.on_step("settled")
        why = {"reason": outcome.reason} if isinstance(outcome, Defer) else {}
        log.info("message_settled", job_id=job_id, outcome=type(outcome).__name__, acknowledged=known, **why)

    def _on_confirmed(self, settlement: Settlement) -> OnConfirmed | None:
        """Return the callback for the moment between the copy's confirm and the original's acknowledgement."""
        if settlement.adoption:
            return partial(self._close_adoption, settlement)
        match settlement.outcome, settlement.job_id:
            case Defer(standby=Standby() as standby), str(job_id):
                repository = self._resources.repository
                return lambda: self._persistence.persist(lambda: repository.stand_by(job_id, standby))
            case _:
                return None

    async def _close_adoption(self, settlement: Settlement) -> None:
        """Note that the copy is confirmed. LeaseLost where another delivery took the id: it returns for a new one."""
        job_id, holder = settlement.job_id or "", settlement.adoption
        if not await self._persistence.persist(lambda: self._resources.repository.adopted(job_id, holder)):
            raise LeaseLost(f"the id {job_id} was given to another message with the same body")

    async def _forward(self, routed: Routed, hops: int) -> Settlement:
        """Forward a job to its own lane; one that was forwarded too often is dead."""
        job, digest, lane = routed.decoded.job, routed.decoded.digest, routed.lane
        if hops < MAX_HOPS:
            return Settlement(Forward(job.job_id, lane, routed.priority), job.job_id, lane, routed.priority)
        error = Unserved(f"it was forwarded {hops} times, last to lane {lane}: workers do not agree whose it is")
        return await self._recorder.bury_unclaimed(routed, digest, error)

    async def _adopt(self, routed: Routed) -> Settlement:
        """Give a message without an id one, by a copy that carries it: a redelivery finds the same id."""
        repository, delivery, proposed = self._resources.repository, routed.decoded.delivery, str(uuid.uuid4())
        digest = routed.decoded.digest
        job_id = await self._persistence.persist(
            lambda: repository.adopt(digest, proposed, redelivered=delivery.redelivered)
        )
        forward = Forward(job_id, routed.lane, routed.priority)
        return Settlement(forward, job_id, routed.lane, routed.priority, adoption=proposed)
