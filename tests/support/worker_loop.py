"""The worker around the executor of a `Harness`, with posts and a preflight that answer as the test says."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from worker.engine.host.callbacks import Callbacks
from worker.engine.host.worker import Worker

if TYPE_CHECKING:
    from tests.support.engine import Harness


class Posts:
    """What callbacks posted, and the answers that they get."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent: list[tuple[str, dict]] = []

    async def __call__(self, url: str, document: str) -> None:
        self.sent.append((url, json.loads(document)))
        if self.failures:
            raise self.failures.pop(0)


class Preflight:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)


async def no_chores() -> None:
    return


def worker_of(harness: Harness, posts: Posts | None = None, preflight: Preflight | None = None, **options) -> Worker:
    return Worker(
        harness.consumer,
        harness.executor,
        Callbacks(harness.repository, posts or Posts()),
        preflight=preflight or Preflight(),
        **({"grace_seconds": 5.0, "chores": no_chores} | options),
    )


@asynccontextmanager
async def running(worker: Worker):
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        worker.stop()
        with suppress(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await task


async def state_of(harness: Harness, job_id: str, wanted: str, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while (record := await harness.repository.job(job_id)) is None or record.state != wanted:
            await asyncio.sleep(0.02)
