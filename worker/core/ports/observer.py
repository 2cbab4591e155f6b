"""Who counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.core.attempt import Outcome


@dataclass(frozen=True, slots=True)
class Settled:
    """A settled delivery.

    `seconds` it was held; `waited` before its first attempt, where the publisher told when it queued the job;
    `ended` says that it brought its job to its end, `error` what a failed attempt ended with.
    """

    outcome: Outcome
    lane: str
    priority: str
    modules: tuple[str, ...]
    seconds: float
    waited: float | None
    error: BaseException | None
    ended: bool


class Observer(Protocol):
    """Whoever counts what happens: it neither waits nor raises."""

    def settled(self, seen: Settled) -> None:
        """Hear of a settled delivery."""
        ...

    def moved(self, direction: str, scheme: str, count: int) -> None:
        """Hear of `count` bytes that went `in` from or `out` to a storage."""
        ...


class Unobserved:
    """Counts nothing."""

    def settled(self, seen: Settled) -> None:
        """Ignore it."""

    def moved(self, direction: str, scheme: str, count: int) -> None:
        """Ignore it."""
