"""Floods that one publisher can make: what they cost the worker, and how long another one's job waits.

`python -m tests.support.floods COPIES=1000 CALLBACKS=1500` makes large ones, and prints what it measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from infra.broker import declare
from infra.local import LocalServices
from tests.support.databases import provision
from tests.support.engine import Broker, Harness, broker_access, document
from tests.support.loop import resident_kib
from tests.support.worker_loop import running, worker_of
from worker.adapters.sql import SqlRepository
from worker.core.message.dialects import decode
from worker.core.ports import ClaimRequest, Granted
from worker.core.topology import topology

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Flood = Callable[[Harness, Broker, int], Awaitable[dict[str, float]]]


async def flood_of_copies(harness: Harness, broker: Broker, count: int) -> dict[str, float]:
    """Publish `count` copies of a job that somebody has, of high priority, and one other job, of low priority.

    Returned are the seconds until the other one is done, and how the copies were settled until then.
    """
    job = document()
    request = ClaimRequest(decode(json.dumps(job).encode()), _digest(job), "other", 600.0, "cpu", "normal")
    assert isinstance(await harness.repository.claim(request, harness.policy), Granted)
    for _ in range(count):
        await broker.publish(job, key="cpu.high")
    innocent = document()
    await broker.publish(innocent, key="cpu.low")
    started, settled = time.monotonic(), Counter[str]()
    while not settled["Completed"]:
        settled[type((await harness.one(60)).outcome).__name__] += 1
    seconds = time.monotonic() - started
    assert settled["Surplus"] == count - 1
    return {
        "seconds until the job of low priority was done": seconds,
        "copies settled a second": settled["Surplus"] / seconds,
        "copies that waited": settled["Defer"],
    }


async def flood_of_callbacks(harness: Harness, broker: Broker, count: int) -> dict[str, float]:
    """Run `count` jobs whose receiver never answers; return what the worker's memory grew by after the first tenth."""

    over = asyncio.Event()

    async def silent(_url: str, _document: str) -> None:
        await over.wait()

    jobs = [document(callback_url="https://silent.example.org/done") for _ in range(count)]
    for job in jobs:
        await broker.publish(job)
    worker = worker_of(harness, silent)  # type: ignore[arg-type]  # it is a poster
    async with running(worker):
        await _completed(harness, count // 10)
        before, started = resident_kib(), time.monotonic()
        await _completed(harness, count)
        seconds, grown = time.monotonic() - started, resident_kib() - before
        due = await harness.repository.pending_callbacks(0.0, 10 * count)
        over.set()
    return {
        "MiB that the worker grew by": grown / 1024,
        "jobs a second": count * 0.9 / seconds,
        "callbacks that stay due": len(due),
    }


async def _completed(harness: Harness, count: int) -> None:
    async with asyncio.timeout(600):
        while (await harness.repository.counts()).get("completed", 0) < count:
            await asyncio.sleep(0.05)


def _digest(job: dict[str, object]) -> str:
    return sha256(json.dumps(job).encode()).hexdigest()


FLOODS: dict[str, tuple[int, Flood]] = {"COPIES": (1000, flood_of_copies), "CALLBACKS": (1500, flood_of_callbacks)}
"""Each flood by the word that says how large it is, with its usual size."""


async def _measured(flood: Flood, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="leveret-flood-") as name:
        folder = Path(name)
        services = LocalServices(folder / "services")
        services.up(("rabbitmq",))
        repository = SqlRepository(provision(folder / "leveret.db"))
        try:
            variables = services.environment()
            declare(variables["WORKER_BROKER_URL"], topology())
            async with broker_access(variables["WORKER_BROKER_URL"], variables["RABBITMQ_MANAGEMENT_URL"]) as broker:
                harness = Harness(variables["WORKER_BROKER_URL"], repository, folder)
                try:
                    return await flood(harness, broker, count)
                finally:
                    await harness.close()
        finally:
            await repository.close()
            services.down(purge=True)


def main() -> None:
    """Make each flood, and print what it cost."""
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    for name, (usual, flood) in FLOODS.items():
        if count := int(options.get(name) or usual):
            found = asyncio.run(_measured(flood, count))
            words = ", ".join(f"{what} {value:.1f}" for what, value in found.items())
            sys.stdout.write(f"{name}={count}: {words}\n")


if __name__ == "__main__":
    main()
