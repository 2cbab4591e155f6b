"""The broker as operators use it, async: the blocking connection lives in a thread of its own."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar

from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.threads import Abandoning
from worker.core.errors import BrokerUnavailable
from worker.core.routing import DEAD_QUEUE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

    from worker.core.attempt import StateChange
    from worker.core.message.dead_letter import DeadLetter
    from worker.core.topology import Exchange, Queue

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_SECONDS: Final = 60.0
"""More than all of pika's own limits together: what a call may take whatever happens below them."""
CLOSING_SECONDS: Final = 2.0
FLEET_SECONDS: Final = 30.0


class RabbitAdmin:
    """`worker.core.ports.BrokerAdmin` at `url`.

    The calls of one connection run one after another in its thread. A caller that is cancelled does not wait for the
    broker: the call ends by its own limits, and the messages it held go back when its connection closes.
    """

    def __init__(self, url: str) -> None:
        self._publisher = Publisher(url)
        self._thread = Abandoning(1, "leveret-broker")
        self._fleet = ("", float("-inf"))

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self._run(Publisher.__enter__)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give every held message back and disconnect; what hangs is left to its own limits."""
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._publisher.__exit__, kind, error, trace)
        try:
            await asyncio.wait({closing}, timeout=CLOSING_SECONDS)
        finally:
            closing.add_done_callback(_look_at)
            # Closing is in the thread's queue already, which ends with it.
            self._thread.end()

    async def _run(self, work: Callable[Concatenate[Publisher, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        running = asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: work(self._publisher, *args, **kwargs)
        )
        running.add_done_callback(_look_at)
        done, _ = await asyncio.wait({running}, timeout=ANSWER_SECONDS)
        if not done:
            raise BrokerUnavailable(f"the broker has not answered for {ANSWER_SECONDS:.0f} s")
        return running.result()

    @property
    def version(self) -> tuple[int, ...]:
        """Return the broker's version as it said when we connected, empty where it said none."""
        return self._publisher.version

    async def publish_job(
        self,
        body: bytes,
        job_id: str | None,
        lane: str,
        priority: str,
        headers: Mapping[str, Any] | None = None,
        *,
        dialect: str = "",
    ) -> None:
        """Publish to `media.jobs`, persistent; return once the broker has it safely in a queue."""
        await self._run(Publisher.publish_job, body, job_id, lane, priority, headers, dialect=dialect)

    async def publish_event(self, change: StateChange) -> None:
        """Publish `job.<state>` on `media.events`, for whoever listens."""
        await self._run(Publisher.publish_event, change)

    def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """Yield the messages of `media.dlq`, oldest first, each held until it is replayed, discarded or given back."""
        return self.held(DEAD_QUEUE)

    async def held(self, queue: str) -> AsyncIterator[DeadLetter]:
        """Yield the messages of any queue in the same way, as many as there were at first."""
        letter = await self._run(Publisher.hold, queue)
        left = letter.behind if letter else 0
        while letter is not None:
            yield letter
            letter = await self._run(Publisher.hold, queue) if left else None
            left -= 1

    async def replay(
        self, letter: DeadLetter, job_id: str | None, lane: str, priority: str, body: bytes | None = None
    ) -> None:
        """Publish a held message again, without what earlier rounds wrote on it; then acknowledge the held one."""
        await self._run(Publisher.replay, letter, job_id, lane, priority, body)

    async def move(self, letter: DeadLetter, job_id: str, lane: str, priority: str) -> None:
        """Publish a held message to its job queue with the headers it has; then acknowledge the held one."""
        await self._run(Publisher.move, letter, job_id, lane, priority)

    async def discard(self, letter: DeadLetter) -> None:
        """Delete a held message for good."""
        await self._run(Publisher.discard, letter)

    async def count(self, queue: str) -> int:
        """Return how many messages wait in `queue`, those that somebody holds not counted."""
        return await self._run(Publisher.count, queue)

    async def refusals(self, exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
        """Return what this user may not do of publishing to `exchanges` and reading dead letters."""
        return await self._run(Publisher.refusals, exchanges)

    async def require_fleet(self, identity: str) -> None:
        """Return if the broker was provisioned for the database `identity`, or for none; Misconfigured otherwise.

        A connection that is open for long asks again now and then.
        """
        if self._fleet[0] == identity and time.monotonic() - self._fleet[1] < FLEET_SECONDS:
            return
        await self._run(Publisher.require_fleet, identity)
        self._fleet = (identity, time.monotonic())

    async def alive(self) -> bool:
        """Return whether the connection is open still, and answer the broker's heartbeats."""
        return await self._run(Publisher.alive)

    async def require_taking(self) -> None:
        """Return if the broker takes a message now; BrokerUnavailable while it is short of memory or disk."""
        await self._run(Publisher.require_taking)

    async def differences(self, queues: tuple[Queue, ...]) -> tuple[str, ...]:
        """Return one line for each of `queues` that is missing or has other arguments than these."""
        return await self._run(Publisher.differences, queues)


def _look_at(running: asyncio.Future[Any]) -> None:
    # So that asyncio does not complain of an error that a gone caller never saw.
    if not running.cancelled():
        running.exception()
