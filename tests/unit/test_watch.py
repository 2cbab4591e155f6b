"""Work beside an attempt."""

from __future__ import annotations

import asyncio

from worker.engine.attempt.watch import Watch


async def test_a_watch_that_is_cancelled_in_time_never_begins():
    begun = []

    async def work() -> None:
        begun.append(True)

    watch = Watch(0.05, work, "never")
    watch.cancel()
    await watch.stop()
    await asyncio.sleep(0.1)
    assert begun == []


async def test_a_watch_that_has_begun_is_over_when_stop_returns():
    begun, over = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            over.set()

    watch = Watch(0.0, work, "long")
    await asyncio.wait_for(begun.wait(), 5)
    await watch.stop()
    assert over.is_set()
