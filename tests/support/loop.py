"""What hostile input costs the worker itself: how long the event loop is held, and its own memory."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOP_SECONDS = 2.0
"""How long the event loop may be held, on which leases and heartbeats depend: less than half of a heartbeat."""


async def longest_hold(stop: asyncio.Event) -> float:
    """Return for how many seconds the event loop's thread computed at most between two of its turns.

    A busy machine makes that no longer, as it does the time on the clock.
    """
    longest = 0.0
    while not stop.is_set():
        before = time.thread_time()
        await asyncio.sleep(0.01)
        longest = max(longest, time.thread_time() - before)
    return longest


@asynccontextmanager
async def unharmed(mebibytes: int = 64) -> AsyncIterator[None]:
    """Require that what happens within holds the event loop shortly, and lets this process grow by so much at most."""
    _forget_peak()
    before, stop = resident_kib(), asyncio.Event()
    watching = asyncio.create_task(longest_hold(stop))
    try:
        yield
    finally:
        stop.set()
        held = await watching
    grown = (resident_kib("VmHWM") - before) >> 10
    assert held < LOOP_SECONDS, f"the event loop was held for {held:.1f} s"
    assert grown < mebibytes, f"the worker took {grown} MiB more"


def _forget_peak() -> None:
    """Let the peak of this process's memory begin anew: an earlier test hides none."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_kib(which: str = "VmRSS") -> int:
    """Return what this process has of memory, or had at most (`VmHWM`), in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{which}:"))
