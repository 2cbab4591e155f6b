"""The settlement table over the broker in memory and SQLite: the same engine, in milliseconds."""

from __future__ import annotations

import json

import pytest

from tests.support.databases import provision
from tests.support.engine import DEFER_SECONDS, DELAYS, Harness, document
from worker.adapters.sql import SqlRepository
from worker.core.attempt import Completed, Dead, Defer, Forward, Retry, Surplus
from worker.core.errors import BadInput, SourceMissing
from worker.core.ports import ClaimRequest
from worker.core.routing import DEAD_QUEUE, queues_of
from worker.testing import MemoryBroker, MemoryConsumer


@pytest.fixture
async def harness(tmp_path):
    rows = SqlRepository(provision(tmp_path / "leveret.db"))
    harness = Harness("amqp://nowhere/", rows, tmp_path)
    harness.consumer = MemoryConsumer(MemoryBroker(), queues_of(("cpu",)), defer_seconds=DEFER_SECONDS, delays=DELAYS)
    yield harness
    await rows.close()


def publish(harness, job, key="cpu.normal", **properties):
    harness.consumer.broker.publish(json.dumps(job).encode(), key, **properties)


async def test_a_job_is_completed_and_gone(harness):
    publish(harness, document())
    assert isinstance((await harness.one()).outcome, Completed)
    assert await harness.consumer.next(wait=False) is None


async def test_three_failures_are_retried_and_the_fourth_is_dead(harness):
    harness.fail_with(SourceMissing("away"))
    publish(harness, document())
    outcomes = [type((await harness.one()).outcome) for _ in range(4)]
    assert outcomes == [Retry, Retry, Retry, Dead]
    assert harness.consumer.broker.waiting(DEAD_QUEUE) == 1


async def test_a_permanent_error_is_dead_at_once(harness):
    harness.fail_with(BadInput("no media"))
    publish(harness, document())
    assert isinstance((await harness.one()).outcome, Dead)
    letter = harness.consumer.broker.take(DEAD_QUEUE)
    assert letter.headers["x-error-type"] == "BadInput"


async def test_a_message_without_an_id_is_adopted(harness):
    job = document()
    del job["job_id"]
    publish(harness, job)
    assert isinstance((await harness.one()).outcome, Forward)
    assert isinstance((await harness.one()).outcome, Completed)


async def test_a_job_of_another_lane_goes_there(harness):
    publish(harness, document(lane="nvenc"))
    assert isinstance((await harness.one()).outcome, Forward)
    assert harness.consumer.broker.waiting("media.nvenc.normal") == 1


async def test_one_copy_waits_while_somebody_has_the_job(harness):
    job = document()
    body = json.dumps(job).encode()
    for _ in range(3):
        publish(harness, job)
    first = await harness.consumer.next()
    decoded = await harness.executor._decode(first)
    request = ClaimRequest(decoded.job, decoded.digest, "other", 60.0, "cpu", "normal")
    await harness.repository.claim(request, harness.policy)
    await first.give_back()
    outcomes = [type((await harness.one()).outcome) for _ in range(3)]
    assert outcomes == [Defer, Surplus, Surplus]
    assert body == json.dumps(job).encode()


async def test_a_lost_connection_settles_nothing_and_runs_nothing_twice(harness):
    publish(harness, document())

    async def lost(_context):
        await harness.consumer.lose()

    harness.task.on_run = lost
    await harness.one()
    harness.task.on_run = None
    assert isinstance((await harness.one()).outcome, Completed)
    assert harness.task.runs == 1
