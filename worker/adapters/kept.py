"""A connection to the broker that submissions share, so that each need not open one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.errors import BrokerUnavailable
from worker.core.ports import BrokerAdmin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TEND_SECONDS: Final = 3.0
"""The seconds between two answers to heartbeats: several in each of pika's ten seconds."""
IDLE_SECONDS: Final = 60.0
"""After how long without a submission the connection is closed."""
ALIVE_SECONDS: Final = 2.0
"""The seconds that a connection may take to say that it is open; later it counts as stuck, and another is opened."""


class Connection(BrokerAdmin, Protocol):
    """A connection that can be asked whether it is open still."""

    async def alive(self) -> bool:
        """Return whether the connection and its channel are open; heartbeats are answered by the way."""
        ...


@dataclass(slots=True)
class _Opened:
    broker: Connection
    used_at: float
    users: int = 0
    replaced: bool = False


@dataclass(slots=True)
class KeptBroker:
    """Opens a connection with the first submission, lends it to each, and closes it when none came for a while.

    A connection is asked before it is lent: after a restart of the broker the next submission opens another one. Only
    publishing may go over it: held messages go back when a connection closes, and this one stays open.
    """

    connect: Callable[[], Connection]
    clock: Callable[[], float] = time.monotonic
    _opened: _Opened | None = None
    _looking: asyncio.Task[_Opened] | None = None
    _tending: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[BrokerAdmin]:
        """Yield the connection; BrokerUnavailable when none can be opened."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="broker opened")
            self._looking.add_done_callback(_take_error)
        # Whoever comes while a broker is slow to answer shares the answer, and does not wait for one after another.
        opened = await asyncio.shield(self._looking)
        opened.users += 1
        try:
            yield opened.broker
        finally:
            opened.users -= 1
            opened.used_at = self.clock()
            await self._close_if_done(opened)

    async def tend(self) -> None:
        """Answer the broker's heartbeats; close a connection that is lost, or that nobody used for long."""
        opened = self._opened
        if opened is None:
            return
        idle = not opened.users and self.clock() - opened.used_at > IDLE_SECONDS
        if (idle or not await self._is_alive(opened)) and self._opened is opened:
            await self._replace(opened)

    async def close(self) -> None:
        """Close the connection, when its last user has ended."""
        going_on = [task for task in (self._tending, self._looking) if task is not None]
        for task in going_on:
            task.cancel()
        await asyncio.gather(*going_on, return_exceptions=True)
        if self._opened is not None:
            await self._replace(self._opened)

    async def _look(self) -> _Opened:
        if (opened := self._opened) is not None:
            opened.used_at = self.clock()
            if await self._is_alive(opened) and self._opened is opened:
                return opened
            if self._opened is opened:
                await self._replace(opened)
        self._opened = _Opened(await self.connect().__aenter__(), self.clock())
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="kept broker")
        return self._opened

    async def _is_alive(self, opened: _Opened) -> bool:
        with contextlib.suppress(TimeoutError, BrokerUnavailable):
            async with asyncio.timeout(ALIVE_SECONDS):
                return await opened.broker.alive()
        return False

    async def _replace(self, opened: _Opened) -> None:
        self._opened, opened.replaced = None, True
        await self._close_if_done(opened)

    async def _close_if_done(self, opened: _Opened) -> None:
        if opened.replaced and not opened.users:
            await opened.broker.__aexit__(None, None, None)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_SECONDS)
            await self.tend()


def _take_error(looking: asyncio.Task[_Opened]) -> None:
    # So that asyncio does not complain of an error whose waiters are gone.
    if not looking.cancelled():
        looking.exception()
