"""A broker in memory: queues, delays, dead letters and lost connections, as deliveries see them.

It passes the contract suite of the RabbitMQ adapter (`tests/integration/test_broker_contract.py`), so that what is
settled how can be tested in milliseconds.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from worker.core.attempt import Dead, Requeue, Settlement
from worker.core.message.copies import copy_exchange, copy_headers
from worker.core.routing import (
    DEAD_QUEUE,
    DEATHS,
    DEFAULT_LANE,
    DEFAULT_PRIORITY,
    DEFER_SECONDS,
    DYING,
    HEADER_DEATH,
    JOBS,
    PRIORITIES,
    queue_of,
    routing_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.ports.broker import OnConfirmed

DELIVERY_LIMIT: Final = 20
"""Returns after which a job's message is dead, as the real queues have it."""


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """A message in a queue; `returns` counts how often it came back."""

    body: bytes
    routing_key: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    returns: int = 0


class MemoryBroker:
    """Queues by name, each made when something comes into it."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[MemoryMessage]] = {}
        self._changed = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()
        self._waiting: dict[str, int] = {}

    def publish(
        self, body: bytes, key: str, headers: Mapping[str, Any] | None = None, message_id: str | None = None
    ) -> None:
        """Publish to `media.jobs`; what no lane takes goes to the default one."""
        self._route(MemoryMessage(body, key, dict(headers or {}), message_id))

    def waiting(self, queue: str) -> int:
        """Return the messages that are ready in a queue, those of a delay queue that wait in it."""
        return len(self._queues.get(queue, ())) + self._waiting.get(queue, 0)

    def take(self, queue: str) -> MemoryMessage | None:
        """Return the next message of a queue, removed from it; None when there is none."""
        messages = self._queues.get(queue)
        return messages.popleft() if messages else None

    def put_back(self, queue: str, message: MemoryMessage) -> None:
        """Return a message to the head of its queue; one that came back too often is dead."""
        again = replace(message, returns=message.returns + 1)
        if again.returns > DELIVERY_LIMIT and queue not in {DEATHS, DEAD_QUEUE}:
            self.kill(queue, again, "delivery_limit")
            return
        self._queues.setdefault(queue, deque()).appendleft(again)
        self._notify()

    def copy(self, exchange: str, message: MemoryMessage) -> None:
        """Take a copy: at once into its lane, out of a delay queue when that is over, or to the dead letters."""
        if exchange == JOBS:
            self._route(message)
        elif exchange == DYING:
            self.kill(DYING, message, "rejected")
        else:
            self._waiting[exchange] = self._waiting.get(exchange, 0) + 1
            self._after(exchange, message, _seconds_of(exchange))

    def kill(self, queue: str, message: MemoryMessage, reason: str) -> None:
        """Move a message to the dead letters, and a copy to the record of deaths."""
        death = {"reason": reason, "queue": queue, "count": 1, "time": datetime.now(UTC).replace(microsecond=0)}
        dead = replace(message, headers={**message.headers, HEADER_DEATH: [death]}, returns=0)
        for name in (DEAD_QUEUE, DEATHS):
            self._queues.setdefault(name, deque()).append(dead)
        self._notify()

    async def changed(self) -> None:
        """Return when a message came into any queue."""
        self._changed.clear()
        await self._changed.wait()

    def close(self) -> None:
        """Forget what waits in delay queues."""
        for timer in self._timers:
            timer.cancel()

    def _after(self, exchange: str, message: MemoryMessage, seconds: float) -> None:
        def due() -> None:
            self._timers.discard(timer)
            self._waiting[exchange] -= 1
            self._route(message)

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._timers.add(timer)

    def _route(self, message: MemoryMessage) -> None:
        lane, _, priority = message.routing_key.partition(".")
        known = priority in PRIORITIES and lane
        queue = queue_of(lane, priority) if known else queue_of(DEFAULT_LANE, DEFAULT_PRIORITY)
        self._queues.setdefault(queue, deque()).append(message)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()


class MemoryConsumer:
    """`worker.core.ports.Consumer` over a MemoryBroker: its queues in the order in which they are given."""

    def __init__(
        self,
        broker: MemoryBroker,
        queues: tuple[str, ...],
        *,
        max_attempts: int = 4,
        defer_seconds: float = DEFER_SECONDS,
        delays: tuple[float, ...] = (),
    ) -> None:
        self.broker = broker
        self.max_attempts = max_attempts
        self.defer_seconds = defer_seconds
        self.delays = delays
        self._queues = queues
        self._unsettled: list[MemoryDelivery] = []

    async def next(self, *, wait: bool = True) -> MemoryDelivery | None:
        """Return the next message in priority order; None when there is none and `wait` is False."""
        while True:
            for queue in self._queues:
                if (message := self.broker.take(queue)) is not None:
                    return self._delivery(queue, message)
            if not wait:
                return None
            await self.broker.changed()

    async def death(self) -> MemoryDelivery | None:
        """Return the next message of `media.deaths`; None when there is none."""
        message = self.broker.take(DEATHS)
        return None if message is None else self._delivery(DEATHS, message)

    def _delivery(self, queue: str, message: MemoryMessage) -> MemoryDelivery:
        delivery = MemoryDelivery(self, queue, message)
        self._unsettled.append(delivery)
        return delivery

    def forget(self, delivery: MemoryDelivery) -> None:
        """Note that a delivery is settled."""
        self._unsettled.remove(delivery)

    async def lose(self) -> None:
        """Lose the connection: what is unsettled goes back, and settling it does nothing any more."""
        for delivery in self._unsettled:
            delivery.is_lost = True
            self.broker.put_back(delivery.queue, delivery.message)
        self._unsettled.clear()

    async def close(self) -> None:
        """Give back what is unsettled."""
        await self.lose()


class MemoryDelivery:
    """`worker.core.ports.Delivery` out of a MemoryBroker."""

    def __init__(self, consumer: MemoryConsumer, queue: str, message: MemoryMessage) -> None:
        self._consumer = consumer
        self._settled = False
        self.is_lost = False
        self.message = message
        self.queue = queue
        self.body: bytes = message.body
        self.headers: Mapping[str, Any] = message.headers
        self.message_id: str | None = message.message_id
        self.routing_key: str = message.routing_key
        self.redelivered: bool = message.returns > 0

    async def settle(self, settlement: Settlement, on_confirmed: OnConfirmed | None = None) -> bool:
        """Settle as the outcome says; return whether the broker still knew the delivery."""
        if self._settled:
            raise RuntimeError("a delivery is settled once")
        outcome, consumer = settlement.outcome, self._consumer
        exchange = copy_exchange(outcome, consumer.defer_seconds, consumer.delays)
        if exchange is not None and not self.is_lost:
            consumer.broker.copy(exchange, self._copy(settlement))
            if on_confirmed is not None:
                await on_confirmed()
        self._settled = True
        if self.is_lost:
            return False
        consumer.forget(self)
        if isinstance(outcome, Requeue):
            consumer.broker.put_back(self.queue, self.message)
        return True

    def _copy(self, settlement: Settlement) -> MemoryMessage:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        headers = copy_headers(
            self.headers,
            settlement.outcome,
            lane=settlement.lane,
            max_attempts=self._consumer.max_attempts,
            queued_at=now,
            now=now,
        )
        is_dead = isinstance(settlement.outcome, Dead)
        key = self.routing_key if is_dead else routing_key(settlement.lane, settlement.priority)
        return MemoryMessage(self.body, key, headers, settlement.job_id or self.message_id)

    async def give_back(self) -> None:
        """Return the message to its queue, if it is still unsettled and the broker still knows it."""
        if not self._settled:
            await self.settle(Settlement(Requeue()))


class MemoryPublisher:
    """`worker.core.ports.JobPublisher` into a MemoryBroker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def publish_job(self, body: bytes, job_id: str, lane: str, priority: str, *, dialect: str = "") -> None:
        """Publish; the message is safe at once."""
        del dialect
        self._broker.publish(body, routing_key(lane, priority), message_id=job_id or str(uuid.uuid4()))


def _seconds_of(exchange: str) -> float:
    """Return the delay that the name of a delay queue says: `media.retry.30s`; `media.defer` is the default one."""
    last = exchange.rpartition("media.")[2].partition(".")[2]
    return float(last.removesuffix("s")) if last else DEFER_SECONDS
