"""The heartbeat of a worker: its state, every few seconds, whatever else it does."""

from __future__ import annotations

import asyncio
import contextlib
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.ports import Events, Repository
    from worker.core.record import Wanted, WorkerRecord

LAST_BEAT_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """Beats into the database and onto `media.events`, and passes on what an operator commands."""

    def __init__(
        self,
        repository: Repository,
        events: Events,
        describe: Callable[[], Awaitable[WorkerRecord]],
        on_command: Callable[[Wanted], None],
        seconds: float,
        on_namesake: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """Beat every so many seconds; `on_namesake` is called with each other worker of this name, None for none."""
        self._repository = repository
        self._events = events
        self._describe = describe
        self._on_command = on_command
        self._seconds = seconds
        self._on_namesake = on_namesake
        # Unique to this process: two workers of the same name may have the same pid, each in its container.
        self._instance = token_hex(8)
        self._has_beaten = False
        self._namesake: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Beat once, then for ever."""
        await self.beat()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # Measured from the start of a beat, so that a slow database does not lengthen the interval.
            due = max(due + self._seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            await self.beat()

    async def beat(self) -> None:
        """Beat now; a database that is away misses one."""
        record = await self._describe()
        if self._has_beaten and await self._look_for_namesake(record):
            record = await self._describe()
        await self._send(record)

    async def _look_for_namesake(self, record: WorkerRecord) -> bool:
        """Return whether it is news who else has this name: since our last beat the row is somebody else's.

        The first beat of a process finds its predecessor's row and asks nothing.
        """
        try:
            found = await self._repository.namesake(record.worker_id, self._instance, 3 * self._seconds)
        except LeveretError:
            return False
        if found == self._namesake:
            return False
        self._namesake = found
        if found is not None:
            log.error("worker_name_taken", worker=record.worker_id, other=found, advice="give each its own WORKER_ID")
        self._on_namesake(found)
        return True

    async def _send(self, record: WorkerRecord) -> None:
        await self._events.publish("worker.heartbeat", record.model_dump(mode="json", exclude={"seen_at", "wanted"}))
        try:
            self._on_command(await self._repository.beat(record, self._instance))
            self._has_beaten = True
        except LeveretError as error:
            log.warning("heartbeat_missed", error=str(error))

    async def stop(self) -> None:
        """Beat a last time, to say that this worker is gone, and no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        record = await self._describe()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_BEAT_SECONDS):
                await self._send(record.model_copy(update={"status": "offline"}))
