"""Blocking work in a thread that can be stopped, for a thread cannot be cancelled."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from worker.core.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

T = TypeVar("T")

STOP_SECONDS: Final = 30.0


class Stop:
    """Says to work in a thread that its result is not needed any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._reactions: list[Callable[[], object]] = []

    def check(self) -> None:
        """Return if the work is still wanted; Interrupted otherwise."""
        if self._set:
            raise Interrupted("stopped before it was done")

    def then(self, reaction: Callable[[], object]) -> None:
        """Call `reaction` when the work is not wanted any more, at once if that is so already."""
        with self._lock:
            if not self._set:
                self._reactions.append(reaction)
                return
        reaction()

    def set(self) -> None:
        """Tell the work to stop."""
        with self._lock:
            self._set = True
            reactions, self._reactions = self._reactions, []
        for reaction in reactions:
            reaction()


class Abandoning(ThreadPoolExecutor):
    """A pool that is left behind at its end: a call that hangs on a dead server must not hold the process.

    Set it as the loop's default executor; asyncio waits for that one without a limit (five minutes from 3.12).
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - its base's
        """Take no more work and wait for none."""
        del wait, cancel_futures
        super().shutdown(wait=False, cancel_futures=True)

    def end(self) -> None:
        """Take no more work; do in the background what was given before."""
        super().shutdown(wait=False, cancel_futures=False)


def abandon_threads(most: int | None = None) -> None:
    """Let the running loop have at most so many threads for blocking calls, and wait for none of them at its end."""
    asyncio.get_running_loop().set_default_executor(Abandoning(max_workers=most))


async def in_thread(work: Callable[[Stop], T]) -> T:
    """Return what `work` returns, run in a thread.

    Cancelled, it sets the Stop and waits for the thread, so that nothing is written afterwards; but not longer than
    30 s, for a dead network mount never answers.
    """
    stop = Stop()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        task.add_done_callback(_forget)
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        raise


async def iterated(items: Generator[T]) -> AsyncIterator[T]:
    """Yield what a blocking generator yields, each step of it in a thread; it is closed at the end."""
    step: asyncio.Future[T | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, items, None))
            item = await asyncio.shield(step)
            if item is None:
                return
            yield item
    finally:
        if step is not None and not step.done():
            # Cancelled within a step: it is closed once that has ended, which on a dead mount may be never.
            step.add_done_callback(_forget)
            step.add_done_callback(lambda _: items.close())
        else:
            items.close()


def _forget(task: asyncio.Future[T]) -> None:
    # Reading the exception is what keeps asyncio from reporting it as lost.
    if not task.cancelled():
        task.exception()
