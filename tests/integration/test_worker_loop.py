"""The worker around the executor: draining, stopping, pausing, resting, active hours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests.support.engine import document
from tests.support.worker_loop import Preflight, running, state_of, worker_of
from worker.core.errors import DiskFull, MountMissing, StorageUnavailable, ToolMissing
from worker.core.hours import ActiveHours
from worker.core.listing import JobFilter

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_a_draining_worker_runs_all_that_waits_and_ends(harness, broker):
    jobs = [document() for _ in range(3)]
    for job in jobs:
        await broker.publish(job)
    async with asyncio.timeout(10):
        await worker_of(harness, drain=True).run()
    assert {record.state for record in (await harness.repository.page(JobFilter())).jobs} == {"completed"}
    assert harness.task.runs == 3


async def test_a_stopped_worker_finishes_its_job_within_the_grace_and_takes_no_other(harness, broker):
    started, release = asyncio.Event(), asyncio.Event()

    async def on_run(_context):
        started.set()
        await release.wait()

    harness.task.on_run = on_run
    first, second = document(), document()
    await broker.publish(first)
    await broker.publish(second)
    worker = worker_of(harness)
    async with running(worker) as task:
        await started.wait()
        worker.stop()
        assert worker.status == "draining"
        release.set()
        async with asyncio.timeout(5):
            await task
    assert (await harness.repository.job(first["job_id"])).state == "completed"
    assert await harness.repository.job(second["job_id"]) is None


async def test_a_pause_during_the_host_check_is_obeyed_before_a_job_is_taken(harness, broker):
    looked = asyncio.Event()

    async def looking() -> None:
        worker.apply_command("pause")
        looked.set()

    worker = worker_of(harness, preflight=looking)
    await broker.publish(job := document())
    async with running(worker):
        await asyncio.wait_for(looked.wait(), 5)
        await asyncio.sleep(0.2)
        assert worker.status == "paused"
        assert await harness.repository.job(job["job_id"]) is None
        worker.apply_command("run")
        await state_of(harness, job["job_id"], "completed")


@pytest.mark.parametrize("stops", ["grace", "twice"])
async def test_the_end_of_the_grace_or_a_second_signal_gives_the_job_back(harness, broker, stops):
    started = asyncio.Event()

    async def on_run(_context):
        started.set()
        await asyncio.sleep(60)

    harness.task.on_run = on_run
    job = document()
    await broker.publish(job)
    worker = worker_of(harness, grace_seconds=0.2 if stops == "grace" else 60)
    async with running(worker) as task:
        await started.wait()
        worker.stop()
        if stops == "twice":
            worker.stop()
        async with asyncio.timeout(5):
            await task
    record = await harness.repository.job(job["job_id"])
    assert record.state == "queued"
    assert [attempt.outcome for attempt in record.attempts] == ["interrupted"]
    harness.task.on_run = None
    await harness.until(job["job_id"], "completed")


async def test_a_paused_worker_has_no_consumer_and_a_resumed_one_works(harness, broker):
    worker = worker_of(harness)
    async with running(worker):
        await broker.consumers(3)
        worker.apply_command("pause")
        await broker.consumers(0)
        assert worker.status == "paused"
        job = document()
        await broker.publish(job)
        worker.apply_command("run")
        await state_of(harness, job["job_id"], "completed")


async def test_a_drained_worker_ends_by_itself(harness, broker):
    worker = worker_of(harness)
    async with running(worker) as task:
        await broker.consumers(3)
        worker.apply_command("drain")
        async with asyncio.timeout(5):
            await task


@pytest.mark.parametrize("kind", [DiskFull, StorageUnavailable, MountMissing, ToolMissing])
async def test_a_sick_host_takes_nothing_and_says_why_until_it_is_well(harness, broker, kind):
    preflight = Preflight(*[kind("scratch is full")] * 2)
    worker = worker_of(harness, preflight=preflight)
    job = document()
    await broker.publish(job)
    async with running(worker):
        async with asyncio.timeout(5):
            while worker.problem is None:
                await asyncio.sleep(0.01)
        assert worker.problem == "scratch is full"
        assert worker.status == "paused"
        await state_of(harness, job["job_id"], "completed")
    assert preflight.asked == 3
    assert worker.problem is None


async def test_a_host_whose_jobs_fail_by_its_own_fault_rests_says_why_and_charges_nobody(harness, broker):
    problems = []

    async def broken(_context):
        if harness.task.runs <= 2:
            raise ToolMissing("ffmpeg is not installed")
        problems.append(worker.problem)

    harness.task.on_run = broken
    worker = worker_of(harness)
    jobs = [document() for _ in range(3)]
    for job in jobs:
        await broker.publish(job)
    async with running(worker):
        async with asyncio.timeout(5):
            while worker.problem is None:
                await asyncio.sleep(0.01)
        assert (worker.problem, worker.status, harness.task.runs) == ("ffmpeg is not installed", "paused", 1)
        for job in jobs:
            await state_of(harness, job["job_id"], "completed", seconds=15)
        # The row is written before the message is settled: a worker that ends between the two leaves the message.
        await broker.settled()
    # Two rests, and not a sweep through the queue; well again, it says so.
    assert harness.task.runs == 5
    assert problems == [None] * 3
    for job in jobs:
        numbers = {attempt.number for attempt in (await harness.repository.job(job["job_id"])).attempts}
        assert numbers == {1}


async def test_a_worker_takes_jobs_from_the_minute_its_hours_begin_until_they_end(harness, broker):
    now = [datetime(2026, 11, 21, 21, 59, 59, 500_000, tzinfo=UTC)]
    worker = worker_of(harness, hours=ActiveHours.parse("22:00-06:00"), clock=lambda: now[0])
    job = document()
    await broker.publish(job)
    async with running(worker):
        await broker.consumers(0)
        assert (worker.status, worker.problem) == ("paused", "outside its active hours 22:00-06:00")
        assert await broker.waiting("media.cpu.normal") == 1
        now[0] = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
        await state_of(harness, job["job_id"], "completed")
        await broker.consumers(3)
        assert worker.status == "idle"
        worker.apply_command("pause")
        await broker.consumers(0)
        now[0] = datetime(2026, 11, 22, 5, 59, 59, 0, tzinfo=UTC)
        worker.apply_command("run")
        await broker.consumers(3)
        now[0] = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
        await broker.consumers(0)
        assert worker.status == "paused"


async def test_a_worker_whose_host_changed_ends_after_its_job_and_takes_no_other(harness, broker):
    started, release = asyncio.Event(), asyncio.Event()

    async def on_run(_context):
        started.set()
        await release.wait()

    harness.task.on_run = on_run
    first, second = document(), document()
    await broker.publish(first)
    await broker.publish(second)
    worker = worker_of(harness)
    async with running(worker) as task:
        await started.wait()
        worker.renew()
        assert (worker.status, worker.is_outdated) == ("in_progress", True)
        release.set()
        async with asyncio.timeout(10):
            await task
        assert worker.is_outdated
    assert (await harness.repository.job(first["job_id"])).state == "completed"
    assert await harness.repository.job(second["job_id"]) is None


@pytest.mark.parametrize("paused", [False, True])
async def test_an_idle_or_paused_worker_ends_when_its_host_has_changed(harness, broker, paused):
    worker = worker_of(harness)
    async with running(worker) as task:
        await broker.consumers(3)
        if paused:
            worker.apply_command("pause")
            await broker.consumers(0)
        worker.renew()
        async with asyncio.timeout(10):
            await task
        assert worker.is_outdated


@pytest.mark.parametrize("end", ["stop", "drain"])
async def test_a_worker_that_is_to_end_is_not_renewed(harness, broker, end):
    worker = worker_of(harness)
    async with running(worker) as task:
        await broker.consumers(3)
        worker.stop() if end == "stop" else worker.apply_command("drain")
        worker.renew()
        async with asyncio.timeout(10):
            await task
        assert not worker.is_outdated
