"""A message not yet settled, and the copies that settling publishes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, assert_never

import structlog
from aio_pika import DeliveryMode, Message
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from worker.adapters.rabbitmq.link import LINK_ERRORS, Link, answered
from worker.core.attempt import Cancelled, Completed, Dead, Defer, Divided, Forward, Outcome, Requeue, Retry
from worker.core.errors import BrokerUnavailable
from worker.core.policy import shortened
from worker.core.routing import (
    DEAD_EXCHANGE,
    DEATH_HEADERS,
    HEADER_ATTEMPT,
    HEADER_DEATH,
    HEADER_ERROR_TYPE,
    HEADER_FAILED_AT,
    HEADER_FIRST_QUEUED_AT,
    HEADER_LANE,
    HEADER_LAST_ERROR,
    HEADER_LAST_WORKER,
    HEADER_MAX_ATTEMPTS,
    HEADER_REFUSED_BY,
    HEADER_ROUND,
    JOBS,
    defer_name,
    retry_name,
    routing_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

CONFIRM_SECONDS: Final = 30.0
COPY_SECONDS: Final = 120.0
"""How long a copy is tried again while the broker refuses or is away; then the original goes back instead."""

log = structlog.get_logger(__name__)


class RabbitDelivery:
    """One delivery; `settle` is a function of the outcome, and happens once."""

    def __init__(
        self,
        channel: AbstractChannel,
        publisher: Link,
        message: AbstractIncomingMessage,
        queue: str,
        *,
        max_attempts: int,
        defer_seconds: float,
    ) -> None:
        self._channel = channel
        self._publisher = publisher
        self._message = message
        self._max_attempts = max_attempts
        self._defer_seconds = defer_seconds
        self._settled = False
        self.queue = queue
        self.body: bytes = message.body
        self.headers: Mapping[str, Any] = message.headers or {}
        self.message_id: str | None = message.message_id
        self.routing_key: str = message.routing_key or ""
        self.redelivered: bool = bool(message.redelivered)

    async def settle(self, outcome: Outcome, job_id: str | None = None, lane: str = "", priority: str = "") -> bool:
        """Settle as `outcome` says; return whether the broker still knew the delivery.

        When the channel is gone, nothing is published: the broker gives the original to somebody, and the
        database tells that one what happened. BrokerUnavailable when a copy was not confirmed: the
        delivery is then still unsettled.
        """
        if self._settled:
            raise RuntimeError("a delivery is settled once")
        if self._channel.is_closed:
            self._settled = True
            return False
        # RabbitMQ 3.10 reads `x-death` when a message dies, and one that no broker wrote ends the process that moves
        # the dead: nothing of that queue reaches the dead letters any more. Such a message goes there as a copy.
        forged = isinstance(outcome, Dead) and is_forged(self.headers.get(HEADER_DEATH))
        exchange = DEAD_EXCHANGE if forged else self._copy_exchange(outcome)
        if exchange is not None:
            key = self.routing_key if forged else routing_key(lane, priority)
            await self._publish(exchange, key, self._copy(outcome, job_id, lane))
        self._settled = True
        try:
            async with answered():
                await (self._message.ack() if forged else self._answer(outcome))
        except LINK_ERRORS as error:
            log.warning("settle_lost", queue=self.queue, error=str(error)[:200])
            return False
        return not self._channel.is_closed

    async def give_back(self) -> None:
        """Return the message to its queue, if the broker still knows it."""
        if not self._settled:
            await self.settle(Requeue())

    async def _answer(self, outcome: Outcome) -> None:
        match outcome:
            case Completed() | Cancelled() | Divided() | Retry() | Defer() | Forward():
                await self._message.ack()
            case Dead():
                await self._message.nack(requeue=False)
            case Requeue():
                await self._message.nack(requeue=True)
            case _:
                assert_never(outcome)

    def _copy_exchange(self, outcome: Outcome) -> str | None:
        match outcome:
            case Retry():
                return retry_name(outcome.delay)
            case Defer():
                return defer_name(self._defer_seconds)
            case Forward():
                return JOBS
            case _:
                return None

    def _copy(self, outcome: Outcome, job_id: str | None, lane: str) -> Message:
        """Return the message that takes the original's place.

        A nack cannot change headers, so the copy carries the history. The broker's own death headers go:
        3.13 and older read `x-death` on a republished message and may drop it as a cycle.
        """
        original = self._message
        headers = {key: value for key, value in self.headers.items() if key not in DEATH_HEADERS}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        queued = original.timestamp.isoformat() if original.timestamp else now
        headers.setdefault(HEADER_FIRST_QUEUED_AT, queued)
        headers |= {HEADER_MAX_ATTEMPTS: self._max_attempts, HEADER_LANE: lane}
        match outcome:
            case Retry(failure=failure):
                headers |= {
                    HEADER_ATTEMPT: failure.attempt,
                    HEADER_ROUND: outcome.round,
                    HEADER_LAST_ERROR: shortened(failure.message),
                    HEADER_ERROR_TYPE: failure.error_type,
                    HEADER_LAST_WORKER: failure.worker,
                    HEADER_FAILED_AT: now,
                }
            case Dead(failure=failure):
                headers |= {
                    HEADER_LAST_ERROR: shortened(failure.message),
                    HEADER_ERROR_TYPE: failure.error_type,
                    HEADER_LAST_WORKER: failure.worker,
                    HEADER_FAILED_AT: now,
                }
            case Defer(refused_by=str(worker)):
                headers[HEADER_REFUSED_BY] = worker
            case _:
                pass
        return Message(
            self.body,
            headers=headers,
            message_id=job_id or original.message_id,
            type=original.type,
            content_type=original.content_type,
            content_encoding=original.content_encoding,
            correlation_id=original.correlation_id,
            reply_to=original.reply_to,
            app_id=original.app_id,
            timestamp=original.timestamp or datetime.now(UTC),
            delivery_mode=DeliveryMode.PERSISTENT,
        )

    async def _publish(self, exchange: str, key: str, message: Message) -> None:
        """Publish with confirm and mandatory, again and again while the original is still ours."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(LINK_ERRORS),
            wait=wait_exponential(0.2, max=10),
            stop=stop_after_delay(COPY_SECONDS),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    await self._publish_once(exchange, key, message)
        except LINK_ERRORS as error:
            raise BrokerUnavailable(f"no copy reached {exchange}: {error}") from error

    async def _publish_once(self, exchange: str, key: str, message: Message) -> None:
        channel = await self._publisher.channel()
        target = await channel.get_exchange(exchange, ensure=False)
        try:
            async with answered(CONFIRM_SECONDS):
                await target.publish(message, key, mandatory=True)
        except LINK_ERRORS:
            # A publish without an answer leaves the channel's confirms in doubt.
            await self._publisher.reset()
            raise


def is_forged(deaths: object) -> bool:
    """Return whether an `x-death` header is there that no broker wrote."""
    if deaths is None:
        return False
    return not isinstance(deaths, list) or not all(_is_a_death(entry) for entry in deaths)


def _is_a_death(entry: object) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(name), kind)
        for name, kind in (("reason", str), ("queue", str), ("exchange", str), ("count", int), ("routing-keys", list))
    )
