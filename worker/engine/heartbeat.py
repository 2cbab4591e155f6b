"""What a worker tells of itself, every few seconds, whatever else it does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from worker.core.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.ports import Events, Repository
    from worker.core.record import Wanted, WorkerRecord

log = structlog.get_logger(__name__)


class Heartbeat:
    """Beats into the database and onto `media.events`, and hears what people want of the worker."""

    def __init__(
        self,
        repository: Repository,
        events: Events,
        describe: Callable[[], Awaitable[WorkerRecord]],
        on_wanted: Callable[[Wanted], None],
        seconds: float,
    ) -> None:
        self._repository = repository
        self._events = events
        self._describe = describe
        self._on_wanted = on_wanted
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Beat once, then for ever."""
        await self.beat()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.beat()

    async def beat(self) -> None:
        """Beat now; a database that is away misses one."""
        record = await self._describe()
        await self._events.publish("worker.heartbeat", record.model_dump(mode="json", exclude={"seen_at"}))
        try:
            self._on_wanted(await self._repository.beat(record))
        except DatabaseUnavailable as error:
            log.warning("heartbeat_missed", error=str(error))

    async def stop(self) -> None:
        """Beat no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
