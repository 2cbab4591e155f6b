"""The broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.core.settlement import Settlement

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


class Events(Protocol):
    """`media.events`: what any other program may subscribe to."""

    async def publish(self, routing_key: str, event: Mapping[str, object]) -> None:
        """Publish, best effort: a broker that is away loses events, never jobs."""
        ...
