"""What a worker does now and then beside its jobs: when it is due, and what does not wait for it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from tests.support.engine import document
from tests.support.worker_loop import Preflight, running, state_of, worker_of
from worker.core.errors import DiskFull, ToolMissing
from worker.core.hours import ActiveHours
from worker.engine.host.worker import CHORES_SECONDS

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_chores_do_not_shorten_the_rest_of_a_host_whose_jobs_fail_by_its_own_fault(harness, broker, monkeypatch):
    monkeypatch.setattr("worker.engine.host.worker.CHORES_SECONDS", 0.05)

    async def broken(_context):
        raise ToolMissing("ffmpeg is not installed")

    harness.task.on_run = broken
    worker = worker_of(harness)
    worker._rest = 15.0
    await broker.publish(document())
    await broker.publish(document())
    async with running(worker):
        async with asyncio.timeout(10):
            while worker.problem is None:
                await asyncio.sleep(0.01)
        await asyncio.sleep(2)
        assert (worker.problem, harness.task.runs) == ("ffmpeg is not installed", 1)


async def test_chores_make_room_on_a_host_that_is_full(harness, broker, monkeypatch):
    monkeypatch.setattr("worker.engine.host.worker.CHORES_SECONDS", 0.05)
    preflight = Preflight(*[DiskFull("scratch is full")] * 1000)

    async def chores():
        if preflight.asked:
            preflight.failures.clear()

    job = document()
    await broker.publish(job)
    async with running(worker_of(harness, preflight=preflight, chores=chores)):
        await state_of(harness, job["job_id"], "completed", seconds=5)
    assert preflight.asked > 1


@pytest.mark.parametrize("options", [{}, {"hours": ActiveHours.parse("22:00-06:00"), "clock": lambda: NOON}])
async def test_a_worker_that_is_paused_or_off_duty_does_its_chores(harness, broker, monkeypatch, options):
    monkeypatch.setattr("worker.engine.host.worker.CHORES_SECONDS", 0.05)
    done = asyncio.Semaphore(0)

    async def chores():
        done.release()

    worker = worker_of(harness, chores=chores, **options)
    worker.apply_command("run" if options else "pause")
    async with running(worker), asyncio.timeout(5):
        for _ in range(3):
            await done.acquire()
        assert worker.status == "paused"


@pytest.mark.parametrize("wanted", ["run", "pause"])
async def test_a_wait_that_begins_before_chores_are_due_ends_when_they_are(harness, broker, monkeypatch, wanted):
    ahead, done = [0.0], asyncio.Semaphore(0)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr("worker.engine.host.worker.time", clock)

    async def chores():
        done.release()

    worker = worker_of(harness, chores=chores)
    worker.apply_command(wanted)
    async with running(worker), asyncio.timeout(30):
        await done.acquire()
        # The last second of a round passes in a wait of its own: it is not one of a whole round.
        ahead[0] = CHORES_SECONDS - 1
        worker.apply_command("pause" if wanted == "run" else "run")
        worker.apply_command(wanted)
        await done.acquire()


async def test_a_job_is_taken_before_chores_that_fell_due_while_the_host_was_looked_at(harness, broker, monkeypatch):
    ahead, began = [0.0], list[str]()
    monkeypatch.setattr(
        "worker.engine.host.worker.time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0])
    )

    async def slow_look() -> None:
        ahead[0] += CHORES_SECONDS

    async def chores() -> None:
        began.append("chores")

    async def on_run(_context) -> None:
        began.append("job")

    harness.task.on_run = on_run
    job = document()
    await broker.publish(job)
    async with running(worker_of(harness, preflight=slow_look, chores=chores)):
        await state_of(harness, job["job_id"], "completed", seconds=15)
    assert began[:2] == ["chores", "job"]


async def test_a_stop_does_not_wait_for_chores(harness, broker):
    begun = asyncio.Event()

    async def chores():
        begun.set()
        await asyncio.Event().wait()

    worker = worker_of(harness, chores=chores)
    async with running(worker) as task, asyncio.timeout(5):
        await begun.wait()
        worker.stop()
        await task
