"""The lease of a job: renewed in the database while we work; the work ends when it is lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

import structlog

from worker.core.errors import DatabaseUnavailable, JobCancelled, LeaseLost, LeveretError
from worker.engine.attempt.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.attempt import Attempt
    from worker.core.ports import Repository

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Lease:
    """Renews an attempt's lease, and says so when the work must end.

    The deadline counts on the monotonic clock from when the last successful renewal was *sent*: two thirds of
    the long lease. A job that publishes has that lease, so whatever could be seen of it is over before the database
    lets anybody else in; one that does not publish may be taken over sooner, and its first holder then makes what
    nobody sees for a while.
    """

    def __init__(self, repository: Repository, attempt: Attempt) -> None:
        self._repository = repository
        self._attempt = attempt
        self._interval = min(2.0, attempt.lease_seconds / 8)
        self._longest_silence = attempt.longest_lease * 2 / 3
        self._renewed = time.monotonic()
        self._watch: Watch | None = None
        self._turn = asyncio.Lock()
        self.ended: LeveretError | None = None

    def start(self, on_end: Callable[[], object]) -> None:
        """Renew until stopped; `on_end` is called once, when `ended` says why the work must stop."""
        name = f"lease {self._attempt.job.job_id}"
        self._watch = Watch(self._interval, lambda: self._keep(on_end), name)

    async def stop(self) -> None:
        """Stop renewing."""
        if self._watch is not None:
            await self._watch.stop()

    async def last(self, statement: Callable[[], Awaitable[T]]) -> T:
        """Return what the statement returns that records the job's end; then nothing is renewed any more.

        A renewal that came between the commit and its answer would find the job ended, and call that a lost lease.
        """
        async with self._turn:
            result = await statement()
            await self.stop()
        return result

    def end(self, error: LeveretError) -> None:
        """Note why the work must stop; the first reason counts."""
        self.ended = self.ended or error

    async def confirm(self) -> None:
        """Return right after a renewal; LeaseLost when none came in time. Awaited before a fixed name changes."""
        while True:
            try:
                return await self._renew()
            except DatabaseUnavailable as error:
                if time.monotonic() - self._renewed > self._longest_silence:
                    raise LeaseLost(f"the database did not answer for {self._longest_silence:.0f} s") from error
            await asyncio.sleep(min(self._interval, 0.5))

    async def _keep(self, on_end: Callable[[], object]) -> None:
        while self.ended is None:
            left = self._longest_silence - (time.monotonic() - self._renewed)
            try:
                # The process may have been paused for longer than that: renew once before the lease counts as lost.
                async with asyncio.timeout(max(left, self._longest_silence / 4)), self._turn:
                    await self._renew()
            except LeaseLost as error:
                self.end(error)
            except JobCancelled as error:
                self.end(error)
            except (DatabaseUnavailable, TimeoutError) as error:
                log.warning(
                    "lease_not_renewed", job_id=self._attempt.job.job_id, error=str(error), seconds_left=round(left, 1)
                )
                if time.monotonic() - self._renewed >= self._longest_silence:
                    self.end(LeaseLost(f"the lease could not be renewed for {self._longest_silence:.0f} s"))
            if self.ended is None:
                await asyncio.sleep(self._interval)
        on_end()

    async def _renew(self) -> None:
        sent = time.monotonic()
        renewal = await self._repository.renew(self._attempt)
        self._renewed = sent
        if renewal.cancel:
            raise JobCancelled("the job was cancelled")
