"""Events on `media.events`: best effort by design, for the database is the authority."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import structlog
from aiormq import spec

from worker.adapters.rabbitmq.link import LINK_ERRORS, Link, answered
from worker.core.routing import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiormq import Channel

    Pending = tuple[str, datetime, Mapping[str, object]]
    """A routing key, when it was, and the event."""

BACKLOG: Final = 1000
PAUSE_SECONDS: Final = 0.05
"""Between two writes: what a busy worker tells meanwhile leaves at once, for a write costs more than an event."""

log = structlog.get_logger(__name__)


class RabbitEvents:
    """A bounded queue before the broker, so that no job ever waits for a listener."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pending: asyncio.Queue[Pending] = asyncio.Queue(BACKLOG)
        self._task: asyncio.Task[None] | None = None

    @property
    def blocked(self) -> str:
        """Return why the broker takes no messages now; empty while it does, or is away."""
        return self._link.blocked

    async def publish(self, routing_key: str, event: Mapping[str, object]) -> None:
        """Queue an event; the oldest give way when the broker is away for long."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="events")
        if self._pending.full():
            self._pending.get_nowait()
            self._pending.task_done()
        self._pending.put_nowait((routing_key, datetime.now(UTC), event))

    async def _run(self) -> None:
        while True:
            batch = [await self._pending.get()]
            while not self._pending.empty():
                batch.append(self._pending.get_nowait())
            try:
                await self._send(batch)
            except LINK_ERRORS as error:
                log.warning("events_lost", count=len(batch), first=batch[0][0], error=str(error)[:200])
                await self._link.reset()
            finally:
                for _ in batch:
                    self._pending.task_done()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send(self, batch: list[Pending]) -> None:
        channel = cast("Channel", await (await self._link.channel()).get_underlay_channel())
        now = datetime.now(UTC)
        async with answered():
            for number, (routing_key, at, event) in enumerate(batch, 1):
                stamped = {"at": at.isoformat(timespec="milliseconds"), **event}
                body = json.dumps(stamped, default=str).encode()
                # For each its own: aiormq writes the message's id into them.
                properties = spec.Basic.Properties(content_type="application/json", timestamp=now)
                await channel.basic_publish(
                    body, exchange=EVENTS, routing_key=routing_key, properties=properties, wait=number == len(batch)
                )

    async def close(self) -> None:
        """Send what is pending, for two seconds at most, and stop."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pending.join(), 2)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._link.close()
