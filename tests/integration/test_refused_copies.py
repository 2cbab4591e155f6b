"""A broker that takes no copy, and what it moves to the dead letters by itself."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from tests.support.engine import DELAYS, document
from tests.support.repositories import FAILURE, granted, request
from worker.adapters.rabbitmq import delivery as deliveries
from worker.core.attempt import Completed, Dead, Retry, Standby
from worker.core.errors import ShuttingDown, SourceMissing
from worker.core.message.dialects import decode
from worker.core.routing import DEATHS, queue_of, retry_name
from worker.engine.deaths import DeathRecorder

pytestmark = pytest.mark.xdist_group("rabbitmq")

WAITING = "cpu.low"


@asynccontextmanager
async def refusing(broker, name: str):
    """Let the broker refuse what is published to the delay queue `name`: nothing leads there."""
    queue = await broker.channel.get_queue(name, ensure=False)
    await queue.unbind(name, "")
    try:
        yield
    finally:
        await queue.bind(name, "")


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(deliveries, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(deliveries, "LONGEST_PAUSE", 0.05)


@pytest.fixture
def refused(monkeypatch):
    """Return an event that is set at the third copy that the broker refused."""
    seen, event = [], asyncio.Event()

    def warning(name, **_facts):
        seen.append(name)
        if seen.count("copy_not_confirmed") == 3:
            event.set()

    monkeypatch.setattr(deliveries.log, "warning", warning, raising=False)
    return event


async def test_a_delivery_is_held_while_the_broker_refuses_its_copy(harness, broker, hurried, refused):
    harness.fail_with(SourceMissing("away"), times=1)
    job = document()
    await broker.publish(job)
    async with refusing(broker, retry_name(DELAYS[0])):
        running = asyncio.create_task(harness.one(30))
        async with asyncio.timeout(10):
            await refused.wait()
        assert not running.done()
        assert await broker.waiting(queue_of("cpu", "normal")) == 0, "it is not given back, which would be counted"
    assert isinstance((await running).outcome, Retry)
    await harness.until(job["job_id"], "completed")
    await broker.settled()


async def test_a_worker_that_goes_down_meanwhile_gives_the_delivery_back(harness, broker, hurried, refused):
    harness.fail_with(SourceMissing("away"), times=1)
    job = document()
    await broker.publish(job)
    async with refusing(broker, retry_name(DELAYS[0])):
        running = asyncio.create_task(harness.one(30))
        async with asyncio.timeout(10):
            await refused.wait()
        harness.executor.interrupt(ShuttingDown("the grace is over"))
        await running
    harness.executor._persistence.interrupted = None
    await harness.until(job["job_id"], "completed")
    await broker.settled()


async def test_a_message_that_expires_in_its_queue_gets_a_row_that_says_so(harness, broker):
    job = document()
    await broker.publish(job, key=WAITING, expiration=0.001)
    letter = await broker.dead()
    assert json.loads(letter.body) == job
    assert await recorded(harness, broker) == 1
    record = await harness.repository.job(job["job_id"])
    assert (record.state, record.error_type) == ("dead", "Undelivered")
    assert "expired" in record.error


async def test_a_message_that_was_returned_too_often_gets_a_row_that_says_so(harness, broker):
    job = document()
    await broker.publish(job, key=WAITING)
    source = await broker.channel.get_queue(f"media.{WAITING}", ensure=False)
    async with asyncio.timeout(30):
        while not await broker.waiting("media.dlq"):
            message = await source.get(fail=False)
            if message is None:
                await asyncio.sleep(0.02)
                continue
            await message.reject(requeue=True)
    await broker.dead()
    await recorded(harness, broker)
    record = await harness.repository.job(job["job_id"])
    assert record.state == "dead"
    assert "too often" in record.error


async def test_a_death_that_is_no_job_is_a_refusal(harness, broker):
    await broker.publish(b"no job", key=WAITING, message_id="foreign", expiration=0.001)
    await broker.dead()
    await recorded(harness, broker)
    (refusal,) = await harness.repository.refusals()
    assert (refusal.message_id, refusal.error_type) == ("foreign", "Undelivered")


async def test_the_death_of_a_second_copy_changes_no_row_of_a_job_that_ended_or_runs(harness, broker):
    job = document()
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Completed)
    await broker.publish(job, key=WAITING, expiration=0.001)
    await broker.dead()
    await recorded(harness, broker)
    assert (await harness.repository.job(job["job_id"])).state == "completed"


@pytest.mark.parametrize("ended", [False, True])
async def test_a_death_with_the_id_of_another_job_is_a_refusal_and_changes_nothing_of_it(harness, broker, ended):
    job = document()
    attempt = await granted(harness.repository, a_job=decode(json.dumps(job).encode()))
    standby = Standby(attempt.epoch)
    await harness.repository.stand_by(job["job_id"], standby)
    if ended:
        await harness.repository.bury(attempt, FAILURE)
    before = await harness.repository.job(job["job_id"])
    harness.states.clear()
    await broker.publish(job | {"job_title": "forged"}, key=WAITING, expiration=0.001)
    await broker.dead()
    await recorded(harness, broker)
    assert await harness.repository.job(job["job_id"]) == before
    assert harness.states == []
    (refusal,) = await harness.repository.refusals()
    assert refusal.error_type == "IdReused"
    if not ended:
        claim = await harness.repository.claim(request(attempt.job, "w2"), harness.policy)
        assert claim.has_standby


async def test_a_death_that_a_worker_recorded_is_read_and_forgotten(harness, broker):
    await broker.publish(b"no job")
    assert isinstance((await harness.one()).outcome, Dead)
    await broker.dead()
    await recorded(harness, broker)
    assert len(await harness.repository.refusals()) == 1


async def recorded(harness, broker) -> int:
    """Record what died; return how many deaths there were."""
    async with asyncio.timeout(10):
        while not await broker.waiting(DEATHS):
            await asyncio.sleep(0.02)
    count = await DeathRecorder(harness.resources, "tester-1", "cpu").record(harness.consumer)
    assert await broker.waiting(DEATHS) == 0
    return count
