"""For how long hostile input holds the event loop, on which leases and heartbeats depend."""

from __future__ import annotations

import asyncio

LOOP_SECONDS = 2.0
"""How long the event loop may be held: less than half of a heartbeat."""


async def longest_hold(stop: asyncio.Event) -> float:
    """Return for how long the event loop was held at most."""
    loop, longest = asyncio.get_running_loop(), 0.0
    while not stop.is_set():
        before = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - before - 0.01)
    return longest
