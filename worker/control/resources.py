"""The resources of the use cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.errors import RefusedPath
from worker.core.routing import DEFAULT_DELAYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from worker.control.intake.library import Library
    from worker.core.ports import BrokerAdmin, Repository
    from worker.registry import Registry


def no_library() -> Library:
    """Raise: this process was given no files to look at."""
    raise RefusedPath("sources cannot be examined from here")


async def any_receiver(url: str) -> str | None:
    """Return None: this process refuses no address of a callback."""
    del url
    return None


@dataclass(frozen=True, slots=True)
class Control:
    """The database, a way to the broker, and the modules that are installed here.

    `broker` returns a connection that is not opened yet: `async with control.broker() as broker`. `modules` is called
    by those use cases only that judge documents, for loading every plug-in takes a third of a second. A worker that
    was silent for `offline_seconds` is offline; `retry_delays` (seconds) name the delay queues. `library` is called
    by those use cases only that look at sources: it says what can be looked at from here. `refused_receiver` returns
    why a worker with the settings of this process would not call a URL back. `publisher` lends a connection that
    others publish over too, where a process keeps one open; it is for publishing alone.
    """

    stores: Repository
    broker: Callable[[], BrokerAdmin]
    modules: Callable[[], Registry]
    offline_seconds: float
    retry_delays: tuple[float, ...] = DEFAULT_DELAYS
    library: Callable[[], Library] = no_library
    refused_receiver: Callable[[str], Awaitable[str | None]] = any_receiver
    publisher: Callable[[], AbstractAsyncContextManager[BrokerAdmin]] | None = None
