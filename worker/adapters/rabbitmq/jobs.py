"""Jobs that a worker publishes: the parts of one that it divided, and what the outbox holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aio_pika import DeliveryMode, Message

from worker.adapters.rabbitmq.link import LINK_ERRORS, Link, answered
from worker.core.errors import BrokerUnavailable
from worker.core.routing import HEADER_FIRST_QUEUED_AT, HEADER_LANE, JOBS, routing_key

CONFIRM_SECONDS: Final = 30.0


class RabbitJobs:
    """`worker.core.ports.JobPublisher` over a link with confirms."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def publish_job(self, body: bytes, job_id: str, lane: str, priority: str, *, dialect: str = "") -> None:
        """Return once the broker has the message safely in a queue; BrokerUnavailable otherwise."""
        now = datetime.now(UTC)
        message = Message(
            body,
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=job_id,
            type=dialect or None,
            timestamp=now,
            headers={HEADER_FIRST_QUEUED_AT: now.isoformat(timespec="milliseconds"), HEADER_LANE: lane},
        )
        try:
            channel = await self._link.channel()
            exchange = await channel.get_exchange(JOBS, ensure=False)
            async with answered(CONFIRM_SECONDS):
                await exchange.publish(message, routing_key(lane, priority), mandatory=True)
        except LINK_ERRORS as error:
            # A publish without an answer leaves the channel's confirms in doubt.
            await self._link.reset()
            raise BrokerUnavailable(f"a job was not confirmed by the broker: {str(error)[:200]}") from error

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()
