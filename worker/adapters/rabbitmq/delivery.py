"""A message not yet settled, and the copies that settling publishes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
from aio_pika import DeliveryMode, Message

from worker.adapters.rabbitmq.link import LINK_ERRORS, Link, answered
from worker.core.attempt import Dead, Requeue, Settlement
from worker.core.message.copies import copy_exchange, copy_headers
from worker.core.routing import DYING, routing_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

    from worker.core.ports.broker import OnConfirmed

CONFIRM_SECONDS: Final = 30.0
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
MAX_REJECTED: Final = 100

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
        delays: tuple[float, ...] = (),
    ) -> None:
        self._channel = channel
        self._publisher = publisher
        self._message = message
        self._max_attempts = max_attempts
        self._defer_seconds = defer_seconds
        self._delays = delays
        self._settled = False
        self.queue = queue
        self.body: bytes = message.body
        self.headers: Mapping[str, Any] = message.headers or {}
        self.message_id: str | None = message.message_id
        self.routing_key: str = message.routing_key or ""
        self.redelivered: bool = bool(message.redelivered)

    async def settle(self, settlement: Settlement, on_confirmed: OnConfirmed | None = None) -> bool:
        """Settle as the outcome says; return whether the broker still knew the delivery.

        When the channel is gone, nothing is published: the broker gives the original to somebody, and the
        database tells that one what happened.
        """
        if self._settled:
            raise RuntimeError("a delivery is settled once")
        outcome = settlement.outcome
        exchange = copy_exchange(outcome, self._defer_seconds, self._delays)
        if exchange is not None:
            dead = isinstance(outcome, Dead)
            key = self.routing_key if dead else routing_key(settlement.lane, settlement.priority)
            await self._publish(exchange, key, self._copy(settlement))
            if on_confirmed is not None and not self._channel.is_closed:
                await on_confirmed()
        self._settled = True
        if self._channel.is_closed:
            return False
        try:
            async with answered():
                await (self._message.nack(requeue=True) if isinstance(outcome, Requeue) else self._message.ack())
                if isinstance(outcome, Dead):
                    await reject_dying(self._channel)
        except LINK_ERRORS as error:
            log.warning("settlement_lost", queue=self.queue, error=str(error)[:200])
            return False
        return not self._channel.is_closed

    async def give_back(self) -> None:
        """Return the message to its queue, if it is still unsettled and the broker still knows it."""
        if not self._settled:
            await self.settle(Settlement(Requeue()))

    def _copy(self, settlement: Settlement) -> Message:
        """Return the message that takes the original's place.

        Without `reply_to`, to which nobody replies: through AMQP 1.0 any text comes in there, and RabbitMQ refuses
        every copy with `amq.rabbitmq.reply-to`, so that its delivery would be held for ever.
        """
        original = self._message
        now = datetime.now(UTC)
        queued = original.timestamp or now
        headers = copy_headers(
            self.headers,
            settlement.outcome,
            lane=settlement.lane,
            max_attempts=self._max_attempts,
            queued_at=queued.isoformat() if original.timestamp else now.isoformat(timespec="milliseconds"),
            now=now.isoformat(timespec="milliseconds"),
        )
        return Message(
            self.body,
            headers=headers,
            message_id=settlement.job_id or original.message_id,
            type=original.type,
            content_type=original.content_type,
            content_encoding=original.content_encoding,
            correlation_id=original.correlation_id,
            app_id=original.app_id,
            timestamp=queued,
            delivery_mode=DeliveryMode.PERSISTENT,
        )

    async def _publish(self, exchange: str, key: str, message: Message) -> None:
        """Publish with confirm and mandatory, again and again while the original is still ours.

        A broker that is short of memory or disk takes no copy, perhaps for hours. The original is held all the
        time: given back, it would come again at once, and be dead after its twentieth return.
        """
        pause = FIRST_PAUSE
        while not self._channel.is_closed:
            try:
                await self._publish_once(exchange, key, message)
            except LINK_ERRORS as error:
                log.warning("copy_not_confirmed", exchange=exchange, error=str(error)[:200], retry_in=pause)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

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


async def reject_dying(channel: AbstractChannel) -> None:
    """Reject what waits in `media.dying`, which moves it to the dead letters: our own copy, and what others left."""
    queue = await channel.get_queue(DYING, ensure=False)
    for _ in range(MAX_REJECTED):
        message = await queue.get(fail=False, timeout=None)
        if message is None:
            return
        await message.nack(requeue=False)
