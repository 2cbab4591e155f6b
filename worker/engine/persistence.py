"""Statements that outlast a database that is away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from worker.core.errors import DatabaseUnavailable, LeveretError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Persistence:
    """Repeats a statement while the database is away; the delivery is held meanwhile.

    `interrupted` ends the wait: it is set when the worker must go down.
    """

    def __init__(self) -> None:
        self.interrupted: LeveretError | None = None

    async def persist(self, statement: Callable[[], Awaitable[T]]) -> T:
        """Return what `statement` returns, however long the database is away; raises `interrupted`."""
        pause = 0.2
        while True:
            try:
                return await statement()
            except DatabaseUnavailable as error:
                if self.interrupted is not None:
                    raise self.interrupted from error
                log.warning("database_unavailable", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
