"""The worker around the executor: draining, stopping, pausing, resting, callbacks, events, heartbeats."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig import Rig, document

from worker.adapters.rabbitmq import Link, RabbitEvents
from worker.core.errors import DiskFull, MountMissing, StorageUnavailable, ToolMissing
from worker.core.hours import ActiveHours
from worker.core.record import WorkerRecord
from worker.core.routing import EVENTS
from worker.engine.callbacks import Callbacks
from worker.engine.heartbeat import Heartbeat
from worker.engine.worker import Worker

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
pytestmark = pytest.mark.xdist_group("rabbitmq")


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


def worker_of(rig: Rig, posts: Posts | None = None, preflight: Preflight | None = None, **options) -> Worker:
    return Worker(
        rig.consumer,
        rig.executor,
        Callbacks(rig.repository, posts or Posts()),
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


async def state_of(rig: Rig, job_id: str, wanted: str, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while (record := await rig.repository.job(job_id)) is None or record.state != wanted:
            await asyncio.sleep(0.02)


async def test_a_draining_worker_runs_all_that_waits_and_ends(rig, broker):
    jobs = [document() for _ in range(3)]
    for job in jobs:
        await broker.publish(job)
    async with asyncio.timeout(10):
        await worker_of(rig, drain=True).run()
    assert {record.state for record in await rig.repository.jobs()} == {"completed"}
    assert rig.task.runs == 3


async def test_a_stopped_worker_finishes_its_job_within_the_grace_and_takes_no_other(rig, broker):
    started, release = asyncio.Event(), asyncio.Event()

    async def on_run(_context):
        started.set()
        await release.wait()

    rig.task.on_run = on_run
    first, second = document(), document()
    await broker.publish(first)
    await broker.publish(second)
    worker = worker_of(rig)
    async with running(worker) as task:
        await started.wait()
        worker.stop()
        assert worker.status == "draining"
        release.set()
        async with asyncio.timeout(5):
            await task
    assert (await rig.repository.job(first["job_id"])).state == "completed"
    assert await rig.repository.job(second["job_id"]) is None


async def test_a_pause_that_comes_while_the_host_is_looked_at_is_heard_before_a_job_is_taken(rig, broker):
    looked = asyncio.Event()

    async def looking() -> None:
        worker.wanted("pause")
        looked.set()

    worker = worker_of(rig, preflight=looking)
    await broker.publish(job := document())
    async with running(worker):
        await asyncio.wait_for(looked.wait(), 5)
        await asyncio.sleep(0.2)
        assert worker.status == "paused"
        assert await rig.repository.job(job["job_id"]) is None
        worker.wanted("run")
        await state_of(rig, job["job_id"], "completed")


@pytest.mark.parametrize("hands", ["grace", "twice"])
async def test_the_end_of_the_grace_or_a_second_signal_gives_the_job_back(rig, broker, hands):
    started = asyncio.Event()

    async def on_run(_context):
        started.set()
        await asyncio.sleep(60)

    rig.task.on_run = on_run
    job = document()
    await broker.publish(job)
    worker = worker_of(rig, grace_seconds=0.2 if hands == "grace" else 60)
    async with running(worker) as task:
        await started.wait()
        worker.stop()
        if hands == "twice":
            worker.stop()
        async with asyncio.timeout(5):
            await task
    record = await rig.repository.job(job["job_id"])
    assert record.state == "queued"
    assert [attempt.outcome for attempt in record.attempts] == ["interrupted"]
    rig.task.on_run = None
    await rig.until(job["job_id"], "completed")


async def test_a_paused_worker_has_no_consumer_and_a_resumed_one_works(rig, broker):
    worker = worker_of(rig)
    async with running(worker):
        await broker.consumers(3)
        worker.wanted("pause")
        await broker.consumers(0)
        assert worker.status == "paused"
        job = document()
        await broker.publish(job)
        worker.wanted("run")
        await state_of(rig, job["job_id"], "completed")


async def test_a_worker_told_to_drain_ends_by_itself(rig, broker):
    worker = worker_of(rig)
    async with running(worker) as task:
        await broker.consumers(3)
        worker.wanted("drain")
        async with asyncio.timeout(5):
            await task


@pytest.mark.parametrize("kind", [DiskFull, StorageUnavailable, MountMissing, ToolMissing])
async def test_a_sick_host_takes_nothing_and_says_why_until_it_is_well(rig, broker, kind):
    preflight = Preflight(*[kind("scratch is full")] * 2)
    worker = worker_of(rig, preflight=preflight)
    job = document()
    await broker.publish(job)
    async with running(worker):
        async with asyncio.timeout(5):
            while worker.problem is None:
                await asyncio.sleep(0.01)
        assert worker.problem == "scratch is full"
        assert worker.status == "paused"
        await state_of(rig, job["job_id"], "completed")
    assert preflight.asked == 3
    assert worker.problem is None


async def test_a_host_whose_jobs_fail_by_its_own_fault_rests_says_why_and_charges_nobody(rig, broker):
    problems = []

    async def broken(_context):
        if rig.task.runs <= 2:
            raise ToolMissing("ffmpeg is not installed")
        problems.append(worker.problem)

    rig.task.on_run = broken
    worker = worker_of(rig)
    jobs = [document() for _ in range(3)]
    for job in jobs:
        await broker.publish(job)
    async with running(worker):
        async with asyncio.timeout(5):
            while worker.problem is None:
                await asyncio.sleep(0.01)
        assert (worker.problem, worker.status, rig.task.runs) == ("ffmpeg is not installed", "paused", 1)
        for job in jobs:
            await state_of(rig, job["job_id"], "completed", seconds=15)
    # Two rests, and not a sweep through the queue; well again, it says so.
    assert rig.task.runs == 5
    assert problems == [None] * 3
    for job in jobs:
        numbers = {attempt.number for attempt in (await rig.repository.job(job["job_id"])).attempts}
        assert numbers == {1}
    await broker.settled()


async def test_the_final_record_is_posted_where_the_job_asked(rig, broker):
    posts = Posts()
    job = document(callback_url="https://example.org/done")
    await broker.publish(job)
    await worker_of(rig, posts, drain=True).run()
    ((url, record),) = posts.sent
    assert url == "https://example.org/done"
    assert (record["job_id"], record["state"]) == (job["job_id"], "completed")
    assert record["artifacts"][0]["bytes"] == 5


async def test_a_callback_that_fails_never_fails_the_job(rig, broker):
    job = document(callback_url="https://example.org/done")
    await broker.publish(job)
    await worker_of(rig, Posts(StorageUnavailable("refused")), drain=True).run()
    assert (await rig.repository.job(job["job_id"])).state == "completed"


async def test_a_dead_job_posts_its_error(rig, broker):
    posts = Posts()
    await broker.publish(document(callback_url="https://example.org/done", tasks=[{"module": "no-such"}]))
    await worker_of(rig, posts, drain=True).run()
    ((_, record),) = posts.sent
    assert record["state"] == "dead"
    assert "no-such" in record["error"]


async def test_a_callback_that_a_killed_worker_left_is_taken_up(rig, broker, monkeypatch):
    posts = Posts()
    job = document(callback_url="https://example.org/done")
    await broker.publish(job)
    await rig.one()
    monkeypatch.setattr("worker.engine.callbacks.FORGOTTEN_AFTER", 0.0)
    await Callbacks(rig.repository, posts).take_up()
    assert len(posts.sent) == 1
    await Callbacks(rig.repository, posts).take_up()
    assert len(posts.sent) == 1


async def test_a_callback_that_hangs_delays_neither_the_next_job_nor_the_end(rig, broker, monkeypatch):
    called = asyncio.Event()

    async def hanging(_url, _document):
        called.set()
        await asyncio.Event().wait()

    await broker.publish(document(callback_url="https://example.org/done"))
    await rig.one()
    monkeypatch.setattr("worker.engine.callbacks.FORGOTTEN_AFTER", 0.0)
    worker = worker_of(rig, hanging)
    async with running(worker) as task:
        async with asyncio.timeout(5):
            await called.wait()
        job = document()
        await broker.publish(job)
        await state_of(rig, job["job_id"], "completed", seconds=5)
        worker.stop()
        async with asyncio.timeout(2):
            await task


async def test_chores_make_room_on_a_host_that_is_full(rig, broker, monkeypatch):
    monkeypatch.setattr("worker.engine.worker.CHORES_SECONDS", 0.05)
    preflight = Preflight(*[DiskFull("scratch is full")] * 1000)

    async def chores():
        if preflight.asked:
            preflight.failures.clear()

    job = document()
    await broker.publish(job)
    async with running(worker_of(rig, preflight=preflight, chores=chores)):
        await state_of(rig, job["job_id"], "completed", seconds=5)
    assert preflight.asked > 1


@pytest.mark.parametrize("options", [{}, {"hours": ActiveHours.parse("22:00-06:00"), "clock": lambda: NOON}])
async def test_a_worker_that_is_paused_or_off_duty_does_its_chores(rig, broker, monkeypatch, options):
    monkeypatch.setattr("worker.engine.worker.CHORES_SECONDS", 0.05)
    done = asyncio.Semaphore(0)

    async def chores():
        done.release()

    worker = worker_of(rig, chores=chores, **options)
    worker.wanted("run" if options else "pause")
    async with running(worker), asyncio.timeout(5):
        for _ in range(3):
            await done.acquire()
        assert worker.status == "paused"


async def test_a_stop_does_not_wait_for_chores(rig, broker):
    begun = asyncio.Event()

    async def chores():
        begun.set()
        await asyncio.Event().wait()

    worker = worker_of(rig, chores=chores)
    async with running(worker) as task, asyncio.timeout(5):
        await begun.wait()
        worker.stop()
        await task


async def test_states_and_heartbeats_are_events_that_anybody_may_hear(rig, broker):
    listener = await broker.channel.declare_queue("", exclusive=True)
    await listener.bind(EVENTS, "#")
    events = RabbitEvents(Link(rig.url, "events", confirms=False))
    wanted = []

    async def describe() -> WorkerRecord:
        return WorkerRecord(worker_id="w1", hostname="h", pid=1, version="0", status="idle")

    heartbeat = Heartbeat(rig.repository, events, describe, wanted.append, 0.05)
    await events.publish("job.running", {"job_id": "j1"})
    await heartbeat.start()
    heard = {}
    async with asyncio.timeout(5):
        while {"job.running", "worker.heartbeat"} - heard.keys():
            message = await listener.get(fail=False)
            if message is not None:
                await message.ack()
                heard[message.routing_key] = json.loads(message.body)
    assert heard["job.running"]["job_id"] == "j1"
    assert heard["job.running"]["at"]
    assert heard["worker.heartbeat"]["worker_id"] == "w1"
    assert wanted
    assert set(wanted) == {"run"}
    (row,) = await rig.repository.workers(15)
    assert row.status == "idle"
    await heartbeat.stop()
    await events.close()


async def test_events_of_a_busy_worker_arrive_whole_and_in_order_the_last_of_them_too(rig, broker):
    listener = await broker.channel.declare_queue("", exclusive=True)
    await listener.bind(EVENTS, "#")
    events = RabbitEvents(Link(rig.url, "events", confirms=False))
    for number in range(300):
        await events.publish("job.running", {"number": number})
        if number % 70 == 0:
            await asyncio.sleep(0.02)
    await events.close()
    heard, ids, deadline = [], set(), time.monotonic() + 5
    while len(heard) < 300 and time.monotonic() < deadline:
        message = await listener.get(no_ack=True, fail=False)
        if message is not None:
            heard.append(json.loads(message.body)["number"])
            ids.add(message.message_id)
    assert heard == list(range(300))
    assert len(ids) == 300, "a listener that knows a message by its id would take the others for repetitions"


async def test_a_worker_takes_jobs_from_the_minute_its_hours_begin_until_they_end(rig, broker):
    now = [datetime(2026, 11, 21, 21, 59, 59, 500_000, tzinfo=UTC)]
    worker = worker_of(rig, hours=ActiveHours.parse("22:00-06:00"), clock=lambda: now[0])
    job = document()
    await broker.publish(job)
    async with running(worker):
        await broker.consumers(0)
        assert (worker.status, worker.problem) == ("paused", "outside its active hours 22:00-06:00")
        assert await broker.waiting("media.cpu.normal") == 1
        now[0] = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
        await state_of(rig, job["job_id"], "completed")
        await broker.consumers(3)
        assert worker.status == "idle"
        worker.wanted("pause")
        await broker.consumers(0)
        now[0] = datetime(2026, 11, 22, 5, 59, 59, 0, tzinfo=UTC)
        worker.wanted("run")
        await broker.consumers(3)
        now[0] = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
        await broker.consumers(0)
        assert worker.status == "paused"
