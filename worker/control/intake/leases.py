"""Work under a lease of the database: it ends as soon as another server has the lease."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from worker.core.errors import DatabaseUnavailable, LeveretError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def run_renewing(work: Awaitable[T], renew: Callable[[], Awaitable[bool]], seconds: float) -> T | None:
    """Return what `work` returns; None once `renew`, which is asked every so many seconds, says that the lease is lost.

    A database that is away for a moment loses no lease: the next renewal tells. What `work` raises is raised.
    """
    running = asyncio.ensure_future(work)
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=seconds)
            if running.done():
                break
            with suppress(DatabaseUnavailable):
                if not await renew():
                    return None
        return running.result()
    finally:
        if not running.done():
            running.cancel()
            with suppress(asyncio.CancelledError, LeveretError):
                await running
