"""What a worker tells the world: callbacks, events, heartbeats."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import structlog
from structlog.testing import LogCapture

from tests.support.engine import document
from tests.support.worker_loop import Posts, running, state_of, worker_of
from worker.adapters.checks import records
from worker.adapters.rabbitmq import Link, RabbitEvents
from worker.core.errors import StorageUnavailable
from worker.core.record import Hardware, WorkerRecord
from worker.core.routing import EVENTS
from worker.engine.host.callbacks import Callbacks
from worker.engine.host.heartbeat import Heartbeat
from worker.engine.host.presence import WorkerPresence

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_the_final_record_is_posted_where_the_job_asked(harness, broker):
    posts = Posts()
    job = document(callback_url="https://example.org/done")
    await broker.publish(job)
    await worker_of(harness, posts, drain=True).run()
    ((url, record),) = posts.sent
    assert url == "https://example.org/done"
    assert (record["job_id"], record["state"]) == (job["job_id"], "completed")
    assert record["artifacts"][0]["bytes"] == 5


async def test_a_callback_that_fails_never_fails_the_job(harness, broker):
    job = document(callback_url="https://example.org/done")
    await broker.publish(job)
    await worker_of(harness, Posts(StorageUnavailable("refused")), drain=True).run()
    assert (await harness.repository.job(job["job_id"])).state == "completed"


async def test_a_dead_job_posts_its_error(harness, broker):
    posts = Posts()
    await broker.publish(document(callback_url="https://example.org/done", tasks=[{"module": "no-such"}]))
    await worker_of(harness, posts, drain=True).run()
    ((_, record),) = posts.sent
    assert record["state"] == "dead"
    assert "no-such" in record["error"]


async def test_a_callback_that_a_killed_worker_left_is_taken_up(harness, broker, monkeypatch):
    posts = Posts()
    job = document(callback_url="https://example.org/done")
    await broker.publish(job)
    await harness.one()
    monkeypatch.setattr("worker.engine.host.callbacks.FORGOTTEN_AFTER", 0.0)
    await Callbacks(harness.repository, posts).take_up()
    assert len(posts.sent) == 1
    await Callbacks(harness.repository, posts).take_up()
    assert len(posts.sent) == 1


async def test_a_callback_that_hangs_delays_neither_the_next_job_nor_the_end(harness, broker, monkeypatch):
    called = asyncio.Event()

    async def hanging(_url, _document):
        called.set()
        await asyncio.Event().wait()

    await broker.publish(document(callback_url="https://example.org/done"))
    await harness.one()
    monkeypatch.setattr("worker.engine.host.callbacks.FORGOTTEN_AFTER", 0.0)
    worker = worker_of(harness, hanging)
    async with running(worker) as task:
        async with asyncio.timeout(5):
            await called.wait()
        job = document()
        await broker.publish(job)
        await state_of(harness, job["job_id"], "completed", seconds=5)
        worker.stop()
        async with asyncio.timeout(2):
            await task


async def test_states_and_heartbeats_are_events_that_anybody_may_hear(harness, broker):
    listener = await broker.channel.declare_queue("", exclusive=True)
    await listener.bind(EVENTS, "#")
    events = RabbitEvents(Link(harness.url, "events", confirms=False))
    wanted = []

    async def describe() -> WorkerRecord:
        return WorkerRecord(worker_id="w1", hostname="h", pid=1, version="0", status="idle")

    heartbeat = Heartbeat(harness.repository, events, describe, wanted.append, 0.05)
    await events.publish("job.running", {"job_id": "j1"})
    await heartbeat.start()
    received = {}
    async with asyncio.timeout(5):
        while {"job.running", "worker.heartbeat"} - received.keys():
            message = await listener.get(fail=False)
            if message is not None:
                await message.ack()
                received[message.routing_key] = json.loads(message.body)
    assert received["job.running"]["job_id"] == "j1"
    assert received["job.running"]["at"]
    assert received["worker.heartbeat"]["worker_id"] == "w1"
    assert wanted
    assert set(wanted) == {"run"}
    (row,) = await harness.repository.workers(15)
    assert row.status == "idle"
    await heartbeat.stop()
    await events.close()


async def test_events_of_a_busy_worker_arrive_whole_and_in_order_the_last_of_them_too(harness, broker):
    listener = await broker.channel.declare_queue("", exclusive=True)
    await listener.bind(EVENTS, "#")
    events = RabbitEvents(Link(harness.url, "events", confirms=False))
    for number in range(300):
        await events.publish("job.running", {"number": number})
        if number % 70 == 0:
            await asyncio.sleep(0.02)
    await events.close()
    numbers, ids, deadline = [], set(), time.monotonic() + 5
    while len(numbers) < 300 and time.monotonic() < deadline:
        message = await listener.get(no_ack=True, fail=False)
        if message is not None:
            numbers.append(json.loads(message.body)["number"])
            ids.add(message.message_id)
    assert numbers == list(range(300))
    assert len(ids) == 300, "a listener that knows a message by its id would take the others for repetitions"


async def test_two_workers_of_one_name_are_reported_in_the_log_and_to_the_fleet(harness, monkeypatch):
    log = LogCapture()
    monkeypatch.setattr("worker.engine.host.heartbeat.log", structlog.wrap_logger(None, [log], structlog.BoundLogger))

    class Silent:
        async def publish(self, *_words):
            return

    class Rows:
        workers = harness.repository.workers

        async def close(self):
            return

    def beating(host):
        presence = WorkerPresence("w1", host, "1", Hardware)
        commands = (presence.apply_command, 15.0, presence.note_namesake)
        return presence, Heartbeat(harness.repository, Silent(), presence.describe, *commands)

    (one, first), (two, second) = beating("north"), beating("south")
    # A process that begins finds what its predecessor wrote: that is no namesake.
    await first.beat()
    await second.beat()
    assert log.entries == []
    await first.beat()
    (row,) = await harness.repository.workers(45)
    assert row.problem.startswith("another worker has this name (south pid ")
    assert row.problem.endswith("give each its own WORKER_ID")
    await second.beat()
    await first.beat()
    assert [entry["event"] for entry in log.entries] == ["worker_name_taken", "worker_name_taken"]
    found = await records.workers(Rows(), 45)
    assert (found.status, "w1 on north: another worker has this name" in found.fact) == ("warning", True)
    await second.stop()
    await first.beat()
    (row,) = await harness.repository.workers(45)
    assert row.problem is None
    one.close()
    two.close()
