"""One job at a time over several queues: sweep them in order, and wait on all of them only when all are empty.

Why not a subscription that stays: one consumer per queue with prefetch 1 hoards a job per queue while other
workers idle, and a consumer that is gone during the job is what makes the management UI's consumer count the
number of idle workers (broker.md, "One job at a time over several queues").
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import structlog
from aio_pika.exceptions import ChannelNotFoundEntity

from worker.adapters.rabbitmq.delivery import RabbitDelivery
from worker.adapters.rabbitmq.link import LINK_ERRORS, Link
from worker.core.errors import Misconfigured
from worker.core.routing import DEFER_SECONDS

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

SWEEP_SECONDS: Final = 30.0
DELIVERY_TIMEOUT_MS: Final = 172_800_000
"""Two days: from 4.3 the consumer argument counts, before it the node's `consumer_timeout`."""

log = structlog.get_logger(__name__)


class RabbitConsumer:
    """The queues of a worker's lanes, asked in priority order."""

    def __init__(
        self,
        link: Link,
        publisher: Link,
        queues: tuple[str, ...],
        *,
        tag: str,
        max_attempts: int = 4,
        defer_seconds: float = DEFER_SECONDS,
    ) -> None:
        """Take messages over `link`, publish copies over `publisher`; `tag` names our consumers."""
        self._link = link
        self._publisher = publisher
        self._queues = queues
        self._tag = tag
        self._max_attempts = max_attempts
        self._defer_seconds = defer_seconds
        self._last = ""

    async def next(self, *, wait: bool = True) -> RabbitDelivery | None:
        """Return the next message in priority order; None when there is none and `wait` is False.

        Cancelling it leaves no consumer and loses no message: what arrives meanwhile goes back.
        """
        stop = asyncio.Event()
        inner = asyncio.ensure_future(self._next(stop, wait=wait))
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            stop.set()
            done, _ = await asyncio.wait({inner}, timeout=5)
            if not done:
                inner.cancel()
                await self._link.reset()
            elif not inner.cancelled() and inner.exception() is None and (delivery := inner.result()):
                await delivery.give_back()
            raise

    async def _next(self, stop: asyncio.Event, *, wait: bool) -> RabbitDelivery | None:
        while not stop.is_set():
            channel = await self._link.channel()
            try:
                message = await self._sweep(channel) or (await self._wait(channel, stop) if wait else None)
            except ChannelNotFoundEntity as error:
                raise Misconfigured(f"{error}: run `python -m infra provision`") from error
            except LINK_ERRORS as error:
                log.warning("broker_lost_while_waiting", error=str(error)[:200])
                await self._link.reset()
                continue
            if message is not None:
                return self._delivery(channel, *message)
            if not wait:
                return None
        return None

    async def _sweep(self, channel: AbstractChannel) -> tuple[str, AbstractIncomingMessage] | None:
        underlay = await channel.get_underlay_channel()
        for name in self._queues:
            # A `basic.get` that finds nothing is an entry in the Raft log all the same, three times what it costs to
            # ask for the count: not asked is the queue that had a message just now.
            if name != self._last and not (await underlay.queue_declare(name, passive=True)).message_count:
                continue
            queue = await channel.get_queue(name, ensure=False)
            message = await queue.get(fail=False, timeout=None)
            self._last = name if message is not None else ""
            if message is not None:
                return name, message
        return None

    async def _wait(self, channel: AbstractChannel, stop: asyncio.Event) -> tuple[str, AbstractIncomingMessage] | None:
        """Return the first message pushed by any queue; None after `SWEEP_SECONDS`, for one more sweep.

        A consumer that the broker cancelled in silence would leave us deaf: hence the sweep, and a fresh
        channel when it told us.
        """
        arrived: asyncio.Queue[tuple[str, AbstractIncomingMessage]] = asyncio.Queue()
        wake = asyncio.Event()
        await channel.set_qos(prefetch_count=1)
        await self._link.watch_cancels(wake.set)
        consumers = [await self._subscribe(channel, name, arrived) for name in self._queues]
        first = asyncio.ensure_future(arrived.get())
        others = [asyncio.ensure_future(item) for item in (wake.wait(), stop.wait(), _closed(channel))]
        try:
            await asyncio.wait({first, *others}, timeout=SWEEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in (first, *others):
                waiter.cancel()
        for queue, tag in consumers:
            await queue.cancel(tag)
        messages = [first.result()] if first.done() and not first.cancelled() else []
        while not arrived.empty():
            messages.append(arrived.get_nowait())
        messages.sort(key=lambda item: self._queues.index(item[0]))
        for _, raced in messages[1:]:
            await raced.nack(requeue=True)
        if wake.is_set() and not messages:
            await self._link.reset()
        return messages[0] if messages else None

    async def _subscribe(
        self,
        channel: AbstractChannel,
        name: str,
        arrived: asyncio.Queue[tuple[str, AbstractIncomingMessage]],
    ) -> tuple[AbstractQueue, str]:
        async def hand_over(message: AbstractIncomingMessage) -> None:
            # Callbacks are cancelled with their channel: the job runs in a task of its own, elsewhere.
            arrived.put_nowait((name, message))

        queue = await channel.get_queue(name, ensure=False)
        tag = await queue.consume(
            hand_over, consumer_tag=f"{self._tag} {name}", arguments={"x-consumer-timeout": DELIVERY_TIMEOUT_MS}
        )
        return queue, tag

    def _delivery(self, channel: AbstractChannel, queue: str, message: AbstractIncomingMessage) -> RabbitDelivery:
        return RabbitDelivery(
            channel,
            self._publisher,
            message,
            queue,
            max_attempts=self._max_attempts,
            defer_seconds=self._defer_seconds,
        )

    async def close(self) -> None:
        """Close both connections; what is unsettled goes back to its queue."""
        await self._link.close()
        await self._publisher.close()


async def _closed(channel: AbstractChannel) -> None:
    """Return when the channel is closed."""
    with contextlib.suppress(*LINK_ERRORS):
        await channel.closed()
