"""The wait for a message at several queues, while all of them are empty.

The consumers leave beside the job that one of them brought; what came to the others meanwhile goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from aio_pika.exceptions import ChannelNotFoundEntity

from worker.adapters.rabbitmq.link import LINK_ERRORS, Link, answered

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

    Arrived = tuple[str, AbstractIncomingMessage]
    """A message, after the name of its queue."""

SWEEP_SECONDS: Final = 30.0
LEAVE_SECONDS: Final = 5.0
REFUSED_SECONDS: Final = 120.0
"""The seconds for which a queue that refused a consumer twice is only swept: one without a leader ends every wait."""
DELIVERY_TIMEOUT_MS: Final = 172_800_000
"""Two days: from 4.3 the consumer argument counts, before it the node's `consumer_timeout`."""

log = structlog.get_logger(__name__)


@dataclass
class _Idle:
    """A wait at all queues: our consumers, what they brought, and what ends it."""

    consumers: list[tuple[AbstractQueue, str]] = field(default_factory=list)
    arrived: list[tuple[str, AbstractIncomingMessage]] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Waiting:
    """Waits at queues, which are named in priority order; `tag` names our consumers."""

    def __init__(self, link: Link, queues: tuple[str, ...], tag: str) -> None:
        self._link = link
        self._queues = queues
        self._tag = tag
        self._refused: set[str] = set()
        self._only_swept_until: dict[str, float] = {}
        self._leaving: asyncio.Task[None] | None = None

    async def first(self, channel: AbstractChannel, stop: asyncio.Event) -> Arrived | None:
        """Return the first message pushed by any queue; None after `SWEEP_SECONDS`, for one more sweep.

        A consumer that the broker cancelled in silence would leave us deaf: hence the sweep, and a fresh
        channel when it notified us.
        """
        idle = _Idle()
        async with answered():
            await channel.set_qos(prefetch_count=1)
            await self._link.watch_cancels(idle.wake.set)
        for name in self._queues:
            if time.monotonic() >= self._only_swept_until.get(name, 0.0):
                await self._subscribe(channel, name, idle)
        waiters = [asyncio.ensure_future(item) for item in (idle.wake.wait(), stop.wait(), _closed(channel))]
        try:
            await asyncio.wait(waiters, timeout=SWEEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        if idle.arrived:
            first = self._best(idle)
            # Before the job's acknowledgement can: that makes room for one more, which would only come to go back.
            idle.consumers.sort(key=lambda item: item[0].name != first[0])
            self._leaving = asyncio.create_task(_leave(idle), name="consumers leave")
            return first
        async with answered():
            await _unsubscribe(idle)
            raced = self._best(idle) if idle.arrived else None
            await _give_back(idle)
        if idle.wake.is_set() and raced is None:
            await self._link.reset()
        return raced

    def _best(self, idle: _Idle) -> Arrived:
        """Return the message of the highest priority that has arrived; the others stay."""
        best = min(idle.arrived, key=lambda item: self._queues.index(item[0]))
        idle.arrived.remove(best)
        return best

    async def _subscribe(self, channel: AbstractChannel, name: str, idle: _Idle) -> None:
        async def hand_over(message: AbstractIncomingMessage) -> None:
            # Callbacks are cancelled with their channel: the job runs in a task of its own, elsewhere.
            idle.arrived.append((name, message))
            idle.wake.set()

        queue = await channel.get_queue(name, ensure=False)
        tag = f"{self._tag} {name}"
        try:
            async with answered():
                await queue.consume(hand_over, consumer_tag=tag, arguments={"x-consumer-timeout": DELIVERY_TIMEOUT_MS})
        except ChannelNotFoundEntity:
            raise
        except LINK_ERRORS as error:
            # A quorum queue without a leader takes none: whoever reads the log needs its name.
            if name in self._refused:
                self._only_swept_until[name] = time.monotonic() + REFUSED_SECONDS
            self._refused.add(name)
            raise ConnectionError(f"no consumer on {name}: {error}") from error
        self._refused.discard(name)
        idle.consumers.append((queue, tag))

    async def left(self) -> None:
        """Return when our consumers of the last wait are gone."""
        leaving, self._leaving = self._leaving, None
        if leaving is None:
            return
        try:
            await asyncio.wait({leaving}, timeout=LEAVE_SECONDS)
        finally:
            # On a connection that is stuck: nobody waits for its end.
            leaving.cancel()
        try:
            leaving.result()
        except (*LINK_ERRORS, asyncio.CancelledError, asyncio.InvalidStateError) as error:
            log.warning("broker_lost_while_unsubscribing", error=str(error)[:200])
            await self._link.reset()

    async def close(self) -> None:
        """End what still leaves; called once the connection is closed."""
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving.cancel()
            await asyncio.wait({leaving}, timeout=LEAVE_SECONDS)
            # aiormq ends what waits on a connection that we close with a bare Exception: nobody is to stumble over it.
            if leaving.done() and not leaving.cancelled():
                leaving.exception()


async def _leave(idle: _Idle) -> None:
    """End our consumers beside the job that one of them brought, and give back what came to the others meanwhile."""
    await _unsubscribe(idle)
    await _give_back(idle)


async def _unsubscribe(idle: _Idle) -> None:
    for queue, tag in idle.consumers:
        await queue.cancel(tag)


async def _give_back(idle: _Idle) -> None:
    for _, message in idle.arrived:
        await message.nack(requeue=True)


async def _closed(channel: AbstractChannel) -> None:
    """Return when the channel is closed."""
    with contextlib.suppress(*LINK_ERRORS):
        await channel.closed()
