"""One look at the database a second for all who watch: it asks them to look again, and sends no content."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from worker.core.views import Changes

LOOK_SECONDS: Final = 1.0
BEAT_SECONDS: Final = 15.0
MAX_WATCHERS: Final = 1000
MAX_WATCHED: Final = 5000
"""The number of jobs that all watchers name together: each look asks for all of them."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The state of a watcher: `version` is what it has seen now, `problem` why the database could not be asked.

    Neither `changed` nor a problem means that all is as it was: a sign of life.
    """

    version: str
    changed: bool = False
    problem: str = ""


class Pulse:
    """Asks for the state of the fleet while somebody watches; nothing is kept of what anybody has seen."""

    def __init__(self, look: Callable[[Iterable[str]], Awaitable[Changes]], seconds: float = LOOK_SECONDS) -> None:
        self._look = look
        self._seconds = seconds
        self._watched: dict[int, frozenset[str]] = {}
        self._next = 0
        self._looking: asyncio.Task[None] | None = None
        self._turn = asyncio.Condition()
        self._round = 0
        self._changes: Changes | None = None
        self._looked: frozenset[str] = frozenset()
        self._problem = ""
        self._closed = False

    @property
    def closed(self) -> bool:
        """Return whether the server is going down."""
        return self._closed

    @property
    def watchers(self) -> int:
        """Return how many watch."""
        return len(self._watched)

    def has_room(self, jobs: frozenset[str]) -> bool:
        """Return whether one more may watch these jobs."""
        named = sum(map(len, self._watched.values())) + len(jobs)
        return len(self._watched) < MAX_WATCHERS and named <= MAX_WATCHED

    async def watch(self, jobs: frozenset[str], seen: str = "", beat: float = BEAT_SECONDS) -> AsyncIterator[Signal]:
        """Yield whenever the fleet or one of `jobs` changes, at once when that is so since the version `seen`.

        A watcher that reads slowly gets the newest state when it reads again, and nothing in between.
        """
        number, self._next = self._next, self._next + 1
        self._watched[number] = jobs
        sent, problem = seen, ""
        try:
            self._begin()
            # A new reader first gets the last state that others were sent, or, without one, waits for the first look.
            round_ = -1 if self._knows(jobs) or self._problem else self._round
            while not self._closed:
                round_ = await self._after(round_, beat)
                if self._closed:
                    return
                if not self._problem and not self._knows(jobs):
                    # The look that includes these jobs is still under way.
                    yield Signal(sent)
                    continue
                version = self._version(jobs)
                if self._problem:
                    if self._problem != problem:
                        yield Signal(sent, problem=self._problem)
                    problem = self._problem
                    continue
                if version != sent or problem:
                    first, sent, problem = not sent, version, ""
                    yield Signal(version, changed=not first)
                else:
                    yield Signal(version)
        finally:
            del self._watched[number]

    def _knows(self, jobs: frozenset[str]) -> bool:
        """Return whether the newest look asked for these jobs."""
        return self._changes is not None and jobs <= self._looked

    def _version(self, jobs: frozenset[str]) -> str:
        if self._changes is None:
            return ""
        if not jobs:
            return self._changes.fleet
        own = ",".join(f"{job}={self._changes.jobs.get(job, '')}" for job in sorted(jobs))
        return hashlib.sha256(own.encode()).hexdigest()[:20]

    async def _after(self, round_: int, beat: float) -> int:
        """Return the number of the newest look that found something else than the one before, or after `beat`."""
        try:
            async with asyncio.timeout(beat), self._turn:
                await self._turn.wait_for(lambda: self._round != round_ or self._closed)
        except TimeoutError:
            pass
        return self._round

    def _begin(self) -> None:
        if self._looking is None or self._looking.done():
            # Nobody has watched for a while: the last state is old.
            self._changes, self._problem = None, ""
            self._looking = asyncio.create_task(self._watch_database(), name="pulse")

    async def _watch_database(self) -> None:
        while self._watched and not self._closed:
            wanted = frozenset().union(*self._watched.values())
            before = (self._changes, self._problem)
            try:
                self._changes, self._problem = await self._look(wanted), ""
                self._looked = wanted
            except LeveretError as error:
                self._problem = str(error)
            if (self._changes, self._problem) != before:
                async with self._turn:
                    self._round += 1
                    self._turn.notify_all()
            await asyncio.sleep(self._seconds)

    def stop(self) -> None:
        """Let every watcher end: the server is going down, and does so in order only when nobody hangs on it."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()

    async def close(self) -> None:
        """Let every watcher end, and look no more."""
        self.stop()
        async with self._turn:
            self._turn.notify_all()
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)
