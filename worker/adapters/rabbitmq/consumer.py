"""One job at a time over several queues: sweep them in order, and wait on all of them only when all are empty.

Why not a subscription that stays: one consumer per queue with prefetch 1 hoards a job per queue while other
workers idle, and a consumer that is gone during the job is what makes the management UI's consumer count the
number of idle workers (broker.md, "One job at a time over several queues").
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog
from aio_pika.exceptions import ChannelNotFoundEntity

from worker.adapters.rabbitmq.delivery import RabbitDelivery, reject_dying
from worker.adapters.rabbitmq.link import LINK_ERRORS, Link, answered
from worker.adapters.rabbitmq.rescue import MAX_LOOKED_AT, Suspect
from worker.adapters.rabbitmq.waiting import LEAVE_SECONDS, Waiting
from worker.adapters.threads import in_thread
from worker.core.errors import LeveretError, Misconfigured
from worker.core.routing import DEATHS, DEFER_SECONDS, DYING

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

    from worker.adapters.rabbitmq.waiting import Arrived
    from worker.adapters.threads import Stop

PAUSE_SECONDS: Final = 1.0
RETURN_SECONDS: Final = 0.3
MAX_OF_JOBS: Final = 20
"""Messages of a job queue that are looked at: others wait for them meanwhile."""
CERTAIN: Final = 2
"""Connections that the broker ended for errors of its own in a row: more are no chance."""
EMPTY_SECONDS: Final = 0.1
"""The seconds for which an empty queue counts as empty while another one has jobs."""

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
        delays: tuple[float, ...] = (),
    ) -> None:
        """Take messages over `link`, publish copies over `publisher`; `tag` names our consumers.

        `delays` are those of the retry queues, where what is not due for long waits too.
        """
        self._link = link
        self._publisher = publisher
        self._queues = queues
        self._max_attempts = max_attempts
        self._defer_seconds = defer_seconds
        self._delays = delays
        self._last = ""
        self._empty_until: dict[str, float] = {}
        self._lost_at = float("-inf")
        self._waiting = Waiting(link, queues, tag)

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
            ended: set[asyncio.Future[RabbitDelivery | None]] = set()
            try:
                ended, _ = await asyncio.wait({inner}, timeout=LEAVE_SECONDS)
            finally:
                # It takes too long, or we are cancelled once more: what it holds goes back with the channel.
                if not ended:
                    inner.cancel()
                    await self._link.reset()
            if ended and not inner.cancelled() and inner.exception() is None and (delivery := inner.result()):
                await asyncio.shield(self._give_back(delivery))
            raise

    async def _give_back(self, delivery: RabbitDelivery) -> None:
        await delivery.give_back()
        await self._waiting.left()

    async def _next(self, stop: asyncio.Event, *, wait: bool) -> RabbitDelivery | None:
        while not stop.is_set():
            await self._waiting.left()
            channel = await self._link.channel()
            try:
                async with answered():
                    message = await self._sweep(channel)
                    if message is None and not await self._is_empty(channel, DYING):
                        # A worker was killed between the confirm of its copy and its rejection.
                        await reject_dying(channel)
                if message is None and wait:
                    message = await self._waiting.first(channel, stop)
            except ChannelNotFoundEntity as error:
                raise Misconfigured(f"{error}: run `python -m infra provision`") from error
            except LINK_ERRORS as error:
                await self._lost(error, stop)
                continue
            if message is not None:
                self._link.broken = 0
                return self._delivery(channel, *message)
            if not wait:
                return None
        return None

    async def _lost(self, error: BaseException, stop: asyncio.Event) -> None:
        """Drop the connection; what fails again at once is not asked a hundred times a second."""
        log.warning("broker_lost_while_waiting", error=str(error)[:200])
        await self._link.reset()
        before, self._lost_at = self._lost_at, time.monotonic()
        if self._link.broken and await self._rescue(self._queues, MAX_OF_JOBS, anywhere=True):
            return
        if self._lost_at - before < PAUSE_SECONDS:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE_SECONDS)

    async def _rescue(self, queues: tuple[str, ...], most: int, *, anywhere: bool = False) -> int:
        """Make readable what the broker can deliver to nobody; return how many messages those were."""
        suspect = Suspect(certain=self._link.broken > CERTAIN, anywhere=anywhere)

        def rescue(_: Stop) -> int:
            # pika is of the commands: a worker needs it for this alone, and most never do.
            from worker.adapters.rabbitmq.publisher import Publisher  # noqa: PLC0415

            with Publisher(self._link.url) as publisher:
                return sum(publisher.rescue(name, most, suspect) for name in queues if publisher.count(name))

        # A message comes back a moment after its connection ended.
        for pause in (0.0, RETURN_SECONDS):
            await asyncio.sleep(pause)
            try:
                if count := await in_thread(rescue):
                    return count
            except LeveretError as error:
                log.warning("rescue_failed", error=str(error)[:200])
        return 0

    async def _sweep(self, channel: AbstractChannel) -> Arrived | None:
        """Return the first message of the first queue that has one; None when each has just said that it has none."""
        busy, self._last = self._last, ""
        unasked = False
        for name in self._queues:
            if busy and name != busy and time.monotonic() < self._empty_until.get(name, 0.0):
                unasked = True
                continue
            if name != busy and await self._is_empty(channel, name):
                continue
            queue = await channel.get_queue(name, ensure=False)
            message = await queue.get(fail=False, timeout=None)
            if message is not None:
                self._last = name
                return name, message
        # The one that had jobs by the dozen has no more: what one of them put into another queue may wait there.
        return await self._sweep(channel) if unasked else None

    async def _is_empty(self, channel: AbstractChannel, name: str) -> bool:
        """Return whether a queue has no messages.

        A `basic.get` that finds nothing is an entry in the Raft log all the same, three times what it costs to ask
        for the count: not asked at all is the queue that had a message just now.
        """
        now = time.monotonic()
        underlay = await channel.get_underlay_channel()
        if (await underlay.queue_declare(name, passive=True)).message_count:
            return False
        self._empty_until[name] = now + EMPTY_SECONDS
        return True

    def _delivery(self, channel: AbstractChannel, queue: str, message: AbstractIncomingMessage) -> RabbitDelivery:
        return RabbitDelivery(
            channel,
            self._publisher,
            message,
            queue,
            max_attempts=self._max_attempts,
            defer_seconds=self._defer_seconds,
            delays=self._delays,
        )

    async def death(self) -> RabbitDelivery | None:
        """Return the next message of `media.deaths`; None when there is none, or the broker is away."""
        try:
            channel = await self._link.channel()
            async with answered():
                await self._waiting.left()
                queue = await channel.get_queue(DEATHS, ensure=False)
                message = await queue.get(fail=False, timeout=None)
        except LINK_ERRORS as error:
            log.warning("broker_lost_while_reading_deaths", error=str(error)[:200])
            await self._link.reset()
            if self._link.broken and await self._rescue((DEATHS,), MAX_LOOKED_AT):
                return await self.death()
            return None
        self._link.broken = 0
        return None if message is None else self._delivery(channel, DEATHS, message)

    async def close(self) -> None:
        """Close both connections; what is unsettled goes back to its queue."""
        await self._link.close()
        await self._waiting.close()
        await self._publisher.close()
