"""The broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from types import TracebackType

    from worker.core.attempt import Settlement, StateChange
    from worker.core.message.dead_letter import DeadLetter
    from worker.core.topology import Exchange, Queue

OnConfirmed: TypeAlias = "Callable[[], Awaitable[None]]"


class Delivery(Protocol):
    """A message not yet settled."""

    @property
    def body(self) -> bytes:
        """Return the body as it came."""
        ...

    @property
    def headers(self) -> Mapping[str, Any]:
        """Return the headers."""
        ...

    @property
    def message_id(self) -> str | None:
        """Return the publisher's message id."""
        ...

    @property
    def queue(self) -> str:
        """Return the queue it came from."""
        ...

    @property
    def routing_key(self) -> str:
        """Return the routing key it was published with."""
        ...

    @property
    def redelivered(self) -> bool:
        """Return whether the broker gave it to somebody before."""
        ...

    async def settle(self, settlement: Settlement, on_confirmed: OnConfirmed | None = None) -> bool:
        """Settle as the outcome says, once; return whether the broker still knew the delivery.

        A copy (Retry, Defer, Forward, Dead) is published with confirm before the original is acked, and
        `on_confirmed` is awaited between the two. While the broker takes no copy the delivery is held; cancelled
        meanwhile, or failed in `on_confirmed`, it is still unsettled.
        """
        ...

    async def give_back(self) -> None:
        """Return the message to its queue, if it is still unsettled and the broker still knows it."""
        ...


class Consumer(Protocol):
    """One job at a time over several queues: sweep, then wait (broker.md)."""

    async def next(self, *, wait: bool = True) -> Delivery | None:
        """Return the next message in priority order; None when there is none and `wait` is False.

        Reconnects by itself. Cancelling it leaves no consumer and loses no message.
        """
        ...

    async def death(self) -> Delivery | None:
        """Return the next message of `media.deaths`, a copy of one that died; None when there is none, or no broker."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class JobPublisher(Protocol):
    """Publishes jobs from a worker."""

    async def publish_job(self, body: bytes, job_id: str, lane: str, priority: str, *, dialect: str = "") -> None:
        """Return once the broker has the message safely in a queue; BrokerUnavailable otherwise."""
        ...


class Events(Protocol):
    """`media.events`: what any other program may subscribe to."""

    async def publish(self, routing_key: str, event: Mapping[str, object]) -> None:
        """Publish, best effort: a broker that is away loses events, never jobs."""
        ...


class BrokerAdmin(Protocol):
    """The broker as operators use it: one connection from `async with` to its end.

    Every method raises BrokerUnavailable when the broker does not answer in seconds or does not confirm, and
    Misconfigured for wrong credentials and a topology that is not there.
    """

    async def __aenter__(self) -> Self:
        """Connect."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give every held message back to its queue and disconnect."""
        ...

    @property
    def version(self) -> tuple[int, ...]:
        """Return the broker's version, empty where it says none."""
        ...

    async def publish_job(
        self,
        body: bytes,
        job_id: str | None,
        lane: str,
        priority: str,
        headers: Mapping[str, Any] | None = None,
        *,
        dialect: str = "",
    ) -> None:
        """Publish to `media.jobs`, persistent; return once the broker has it safely in a queue."""
        ...

    async def publish_event(self, change: StateChange) -> None:
        """Publish `job.<state>` on `media.events`, for whoever listens."""
        ...

    def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """Yield the messages of `media.dlq`, oldest first, each held until it is replayed, discarded or given back."""
        ...

    def held(self, queue: str) -> AsyncIterator[DeadLetter]:
        """Yield the messages of any queue in the same way."""
        ...

    async def replay(
        self, letter: DeadLetter, job_id: str | None, lane: str, priority: str, body: bytes | None = None
    ) -> None:
        """Publish a held message again, without what earlier rounds wrote on it; then acknowledge the held one.

        With `body` that goes out in place of the dead one's.
        """
        ...

    async def move(self, letter: DeadLetter, job_id: str, lane: str, priority: str) -> None:
        """Publish a held message to its job queue with the headers it has; then acknowledge the held one."""
        ...

    async def discard(self, letter: DeadLetter) -> None:
        """Delete a held message for good."""
        ...

    async def count(self, queue: str) -> int:
        """Return how many messages wait in `queue`, those that somebody holds not counted."""
        ...

    async def refusals(self, exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
        """Return what this user may not do of publishing to `exchanges` and reading dead letters."""
        ...

    async def require_fleet(self, identity: str) -> None:
        """Return if the broker was provisioned for the database `identity`, or for none; Misconfigured otherwise."""
        ...

    async def require_taking(self) -> None:
        """Return if the broker takes a message now; BrokerUnavailable while it is short of memory or disk."""
        ...

    async def differences(self, queues: tuple[Queue, ...]) -> tuple[str, ...]:
        """Return one line for each of `queues` that is missing or has other arguments than these."""
        ...
