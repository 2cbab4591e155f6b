"""The exchanges, queues and bindings in the broker, with their arguments. Pure: `infra.provision` declares them.

Safety-critical settings are queue arguments, so that a fresh broker without policies drops nothing.
Arguments are those of RabbitMQ's quorum-queue and dead-letter guides; broker.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from worker.core.routing import (
    DEAD_EXCHANGE,
    DEAD_QUEUE,
    DEATHS,
    DEFAULT_DELAYS,
    DEFAULT_LANE,
    DEFAULT_PRIORITY,
    DEFER_SECONDS,
    DYING,
    EVENTS,
    JOBS,
    LANES,
    PRIORITIES,
    UNROUTED,
    defer_name,
    defers,
    queue_of,
    retry_name,
    routing_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue."""

    name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Binding:
    """`queue` receives what `exchange` gets under `routing_key`."""

    exchange: str
    queue: str
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """All that must exist, in the order of declaration: what catches the dead comes first."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


def fleet_mark(identity: str) -> dict[str, Any]:
    """Return the arguments of the exchange `FLEET` that say whose the broker is.

    Of all arguments of an exchange brokers compare only this one when it is declared again.
    """
    return {"alternate-exchange": f"media.database.{identity}"}


def _waiting(name: str, seconds: float) -> tuple[Exchange, Queue, Binding]:
    """Return a delay step: quorum queues expire at the head only, so every delay has a queue of its own."""
    arguments = {
        "x-queue-type": "quorum",
        "x-message-ttl": round(seconds * 1000),
        "x-dead-letter-exchange": JOBS,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return Exchange(name, "fanout"), Queue(name, arguments), Binding(name, name)


_DEAD_LETTERED: Final = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": DEAD_EXCHANGE,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 20,
}


def topology(delays: tuple[float, ...] = DEFAULT_DELAYS, defer_seconds: float = DEFER_SECONDS) -> Topology:
    """Return everything that Leveret needs in a broker, for these retry delays (seconds)."""
    dead = Queue(DEAD_QUEUE, {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000})
    # Copies with the reason of their death, on their way to the dead letters: whoever has put one in rejects it, and
    # every idle worker what a killed one left.
    dying = Queue(DYING, _DEAD_LETTERED)
    # A second copy of what dies, for the record: what the broker itself moves has no row that says so.
    deaths = Queue(DEATHS, {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000})
    jobs = tuple(Queue(queue_of(lane, priority), _DEAD_LETTERED) for lane in LANES for priority in PRIORITIES)
    steps = [_waiting(retry_name(delay), delay) for delay in delays]
    steps += [_waiting(defer_name(seconds), seconds) for seconds in defers(defer_seconds)]
    exchanges = (
        Exchange(DEAD_EXCHANGE, "topic"),
        Exchange(UNROUTED, "fanout"),
        Exchange(JOBS, "topic", {"alternate-exchange": UNROUTED}),
        Exchange(DYING, "fanout"),
        Exchange(EVENTS, "topic"),
        *(exchange for exchange, _, _ in steps),
    )
    bindings = (
        Binding(DEAD_EXCHANGE, DEAD_QUEUE, "#"),
        Binding(DEAD_EXCHANGE, DEATHS, "#"),
        Binding(DYING, DYING),
        Binding(UNROUTED, queue_of(DEFAULT_LANE, DEFAULT_PRIORITY)),
        *(Binding(JOBS, queue_of(lane, p), routing_key(lane, p)) for lane in LANES for p in PRIORITIES),
        *(binding for _, _, binding in steps),
    )
    return Topology(exchanges, (dead, deaths, dying, *jobs, *(queue for _, queue, _ in steps)), bindings)
