"""Rows for what the broker itself moved to the dead letters: whatever lies there has a terminal row."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.attempt import Completed, Settlement, StateChange
from worker.core.errors import IdReused, InvalidJob, Undelivered
from worker.core.message.dialects import decode
from worker.core.policy import failure_of
from worker.core.routing import HEADER_DEATH
from worker.engine.recorder import refusal_record
from worker.engine.stages import real_route

if TYPE_CHECKING:
    from worker.core.ports import Consumer, Delivery
    from worker.engine.resources import Resources

MOST: Final = 500
"""The number of deaths that one round of chores records."""
REASONS: Final = {
    "delivery_limit": "it was returned to its queue too often: each worker that took it lost its connection",
    "expired": "it expired in its queue; its publisher gave it an `expiration`",
    "maxlen": "its queue was full",
}
"""The broker's own reasons. What a worker rejects (`rejected`) has a row before it is rejected."""

log = structlog.get_logger(__name__)


class DeathRecorder:
    """Reads `media.deaths`, which gets a copy of all that dies, and records what nobody else could."""

    def __init__(self, resources: Resources, worker_id: str, own_lane: str) -> None:
        self._resources = resources
        self._worker_id = worker_id
        self._own_lane = own_lane

    async def record(self, consumer: Consumer) -> int:
        """Return how many deaths were read; each is acknowledged after its row says that it is dead."""
        for count in range(MOST):
            delivery = await consumer.death()
            if delivery is None:
                return count
            try:
                if reason := reason_of(delivery):
                    await self._record(delivery, f"the broker moved its message to the dead letters: {reason}")
            except BaseException:
                await delivery.give_back()
                raise
            await delivery.settle(Settlement(Completed()))
        return MOST

    async def _record(self, delivery: Delivery, text: str) -> None:
        repository = self._resources.repository
        digest = hashlib.sha256(delivery.body).hexdigest()
        error = Undelivered(text)
        try:
            job = decode(delivery.body, delivery.message_id)
        except InvalidJob:
            job = None
        if job is None or not job.job_id:
            await repository.refuse(await refusal_record(delivery, digest, error, self._worker_id))
            return
        lane, priority, _ = real_route(delivery, job, self._resources.registry, self._own_lane)
        failure = failure_of(error, self._worker_id, 0, job.secrets)
        before = await repository.job(job.job_id)
        try:
            await repository.bury_unclaimed(job, digest, lane, priority, failure)
        except IdReused as reused:
            # Its publisher wrote the id of another job, which goes on as if this message had never been.
            await repository.refuse(await refusal_record(delivery, digest, reused, self._worker_id))
            return
        if before is not None and before.is_terminal:
            return
        record = await repository.job(job.job_id)
        if record is not None and record.state == "dead":
            log.error("job_dead", job_id=job.job_id, error=failure.message, error_type=failure.error_type)
            await self._resources.on_state(StateChange.death(job, failure))


def reason_of(delivery: Delivery) -> str | None:
    """Return why the broker moved a message by itself, None where somebody rejected it.

    The broker writes its own entry at the head of `x-death`; a publisher's come after it.
    """
    deaths = delivery.headers.get(HEADER_DEATH)
    latest = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    return REASONS.get(str(latest.get("reason")))
