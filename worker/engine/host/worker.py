"""The worker: takes one job at a time, rests when its host is sick, stops on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from worker.core.errors import DatabaseUnavailable, Infrastructure, LeveretError, ShuttingDown, Transient
from worker.core.hours import ActiveHours

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.attempt import Settlement
    from worker.core.ports import Consumer, Delivery
    from worker.core.record import Wanted, WorkerStatus
    from worker.engine.executor import Executor
    from worker.engine.host.callbacks import Callbacks

LONGEST_REST: Final = 30.0
FIT_SECONDS: Final = 10.0
CHORES_SECONDS: Final = 60.0
LEAST_WAIT_SECONDS: Final = 0.5
"""The seconds that a message has to come in before chores, or it would be taken only to be given back."""

log = structlog.get_logger(__name__)


def local_time() -> datetime:
    """Return the time on this host's clock."""
    return datetime.now(UTC).astimezone()


class Worker:
    """The loop around the executor.

    `preflight` raises an Infrastructure or Transient error while this host cannot work: then nothing is taken and
    nothing is charged, and the fleet's record says why. `chores` are done between jobs, now and then, and also
    while no job is taken: they may be what makes room again.
    """

    def __init__(
        self,
        consumer: Consumer,
        executor: Executor,
        callbacks: Callbacks,
        *,
        preflight: Callable[[], Awaitable[None]],
        chores: Callable[[], Awaitable[None]],
        grace_seconds: float,
        drain: bool = False,
        hours: ActiveHours | None = None,
        clock: Callable[[], datetime] = local_time,
    ) -> None:
        self._consumer = consumer
        self._executor = executor
        self._callbacks = callbacks
        self._preflight = preflight
        self._chores = chores
        self._grace_seconds = grace_seconds
        self._drain_queues = drain
        self._hours = hours or ActiveHours()
        self._clock = clock
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._waiting: asyncio.Timeout | None = None
        self._wanted: Wanted = "run"
        self._busy = False
        self._rest = 0.0
        self._resting = False
        self._exhausted = False
        self._fit_until = self._chores_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._taking_up: asyncio.Task[None] | None = None
        self._started = False
        self._outdated = False
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Return why we take no job although nobody asked for a pause, None when there is no reason."""
        off_duty = None if self._hours.include(self._clock()) else f"outside its active hours {self._hours}"
        return self._problem or off_duty

    @property
    def status(self) -> WorkerStatus:
        """Return what the fleet's record says of us."""
        if self._stopping.is_set() or self._wanted == "drain":
            return "draining"
        if self._busy:
            return "in_progress"
        if not self._started:
            return "startup"
        return "paused" if self._wanted == "pause" or self.problem else "idle"

    @property
    def is_outdated(self) -> bool:
        """Return whether another worker should take our place, on the host as it is now: nobody wants us to end."""
        return self._outdated and not self._stopping.is_set() and self._wanted != "drain" and not self._drain_queues

    def renew(self) -> None:
        """End after the present job, for this host is another one than was proved."""
        self._outdated = True
        self._wake()

    def apply_command(self, command: Wanted) -> None:
        """Run, pause after the present job, or drain and end, as an operator commands."""
        if command == self._wanted:
            return
        log.info("worker_steered", wanted=command)
        self._wanted = command
        self._wake()

    def stop(self) -> None:
        """End after the present job, or when the grace is over; a second call ends the job at once."""
        if self._stopping.is_set():
            self._interrupt("asked twice to stop")
            return
        log.info("worker_stopping", grace_seconds=self._grace_seconds if self._busy else 0)
        self._stopping.set()
        self._wake()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._grace_seconds, self._interrupt, "the grace is over")

    def _wake(self) -> None:
        """End what is waited for: somebody wants something else."""
        self._changed.set()
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(0.0)

    def _interrupt(self, why: str) -> None:
        self._executor.interrupt(ShuttingDown(f"the worker is going down: {why}"))

    async def run(self) -> None:
        """Take jobs until stopped or drained."""
        self._started = True
        try:
            while not self._stopping.is_set() and self._wanted != "drain" and not self.is_outdated:
                await self._round()
                if self._drain_queues and not self._busy and self._exhausted:
                    break
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._taking_up is not None:
                await _cancel_and_wait(self._taking_up)
            await self._callbacks.close()

    async def _round(self) -> None:
        if time.monotonic() >= self._chores_at:
            await self._do_chores()
            return
        now = self._clock()
        if not self._hours.include(now):
            await self._wait_for_change(self._until_chores(self._hours.seconds_to_change(now)))
            return
        if self._resting:
            # Before we look whether the host is fit: what only a job can see would else be forgotten at once.
            self._resting = False
            await self._wait_for_change(self._rest)
            return
        if self._wanted == "pause" or not await self._is_fit():
            await self._wait_for_change(self._until_chores(self._rest or None))
            return
        delivery = await self._next()
        if delivery is None:
            return
        self._busy = True
        try:
            settlement = await self._executor.execute(delivery)
        finally:
            self._busy = False
        if settlement.ended and settlement.job_id and settlement.callback_url:
            self._callbacks.begin(settlement.job_id, settlement.callback_url)
        self._judge_host(settlement)

    async def _is_fit(self) -> bool:
        if time.monotonic() < self._fit_until:
            return True
        try:
            await self._preflight()
        except (Infrastructure, Transient) as error:
            if self._problem != str(error):
                log.error("host_check_failed", error=str(error))
            self._problem = str(error)
            self._lengthen_rest()
            return False
        if self._problem is not None:
            log.info("host_check_passed")
        self._problem = None
        self._fit_until = time.monotonic() + FIT_SECONDS
        return True

    def _judge_host(self, settlement: Settlement) -> None:
        """Rest after an infrastructure error, longer each time, so that a sick host does not eat the queue."""
        if isinstance(settlement.error, Infrastructure):
            self._problem = str(settlement.error)
            self._lengthen_rest()
            self._resting = True
            self._fit_until = 0.0
        else:
            self._rest = 0.0
            self._problem = None

    def _lengthen_rest(self) -> None:
        self._rest = min(max(1.0, self._rest * 2), LONGEST_REST)

    async def _wait_for_change(self, seconds: float) -> None:
        """Wait so long, or until somebody wants something else."""
        self._changed.clear()
        if self._stopping.is_set() or self.is_outdated:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def _until_chores(self, seconds: float | None) -> float:
        """Return how long to wait at most, `seconds` where chores are not due before."""
        left = max(LEAST_WAIT_SECONDS, self._chores_at - time.monotonic())
        return left if seconds is None else min(seconds, left)

    async def _next(self) -> Delivery | None:
        """Return the next delivery; None when something else must be looked at first."""
        if self._drain_queues:
            delivery = await self._consumer.next(wait=False)
            self._exhausted = delivery is None
            return delivery
        return await self._wait()

    async def _wait(self) -> Delivery | None:
        if self._stopping.is_set() or self._wanted != "run" or self.is_outdated:
            return None
        try:
            async with asyncio.timeout(self._until_chores(self._hours.seconds_to_change(self._clock()))) as waiting:
                self._waiting = waiting
                return await self._consumer.next()
        except TimeoutError:
            if not waiting.expired():
                raise
            return None
        finally:
            self._waiting = None

    async def _do_chores(self) -> None:
        """Do what is due now and then; a stop does not wait for it, nor does a job wait for others' callbacks."""
        self._chores_at = time.monotonic() + CHORES_SECONDS
        if self._taking_up is None or self._taking_up.done():
            self._taking_up = asyncio.create_task(
                _run_logging_errors(self._callbacks.take_up), name="callbacks left by others"
            )
        chores = asyncio.create_task(_run_logging_errors(self._chores), name="chores")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({chores, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel_and_wait(chores, stopping)
        if not chores.cancelled():
            chores.result()


async def _run_logging_errors(chore: Callable[[], Awaitable[None]]) -> None:
    try:
        await chore()
    except DatabaseUnavailable as error:
        log.warning("chores_postponed", error=str(error))
    except LeveretError as error:
        log.warning("chores_failed", error=str(error))


async def _cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Return when `tasks` are over; those that were not are cancelled."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
