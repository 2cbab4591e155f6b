"""The port of a job's work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from worker.core.attempt import Completed, Divided

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.attempt import Attempt
    from worker.core.errors import LeveretError

T = TypeVar("T")

Produced = Completed | Divided
"""The outcomes of a production that ended well: a subset of `Outcome`."""


class HeldLease(Protocol):
    """The lease of a granted attempt, renewed by the executor for as long as the production runs."""

    @property
    def ended(self) -> LeveretError | None:
        """Return why the work must stop, None while it may go on."""
        ...

    async def confirm(self) -> None:
        """Return right after a renewal; LeaseLost when none came in time. Awaited before a fixed name changes."""
        ...

    async def last(self, statement: Callable[[], Awaitable[T]]) -> T:
        """Return what the statement returns that records the job's end; nothing is renewed after it."""
        ...


class Production(Protocol):
    """Makes the files of a granted attempt, publishes them and records the result.

    The executor claims and settles; it does not know whether the work is done by this process, by another machine,
    or by jobs that this one was divided into. A production is cancelled when the attempt must stop.
    """

    async def execute(self, attempt: Attempt, lease: HeldLease) -> Produced:
        """Return once the result is published and recorded; raise what ended the attempt otherwise."""
        ...
