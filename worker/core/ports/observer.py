"""The port of the counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.core.attempt import Settlement


class Observer(Protocol):
    """Whoever counts what happens: it neither waits nor raises."""

    def settled(self, settlement: Settlement, seconds: float) -> None:
        """Count a delivery that was settled after `seconds`."""
        ...

    def moved(self, direction: str, scheme: str, count: int) -> None:
        """Hear of `count` bytes that went `in` from or `out` to a storage."""
        ...

    def parts(self, event: str, count: int) -> None:
        """Count parts of divided jobs that were `planned`, `reused`, `made`, `copied` or `joined`."""
        ...


class Unobserved:
    """Counts nothing."""

    def settled(self, settlement: Settlement, seconds: float) -> None:
        """Ignore it."""

    def moved(self, direction: str, scheme: str, count: int) -> None:
        """Ignore it."""

    def parts(self, event: str, count: int) -> None:
        """Ignore it."""
