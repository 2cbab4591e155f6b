"""Which message a worker takes next, and that it is a consumer only while it is idle."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.engine import Harness, document
from worker.adapters.rabbitmq.consumer import EMPTY_SECONDS
from worker.core.attempt import Completed, Forward, Settlement
from worker.core.routing import LANES, PRIORITIES, queue_of, routing_key

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_a_message_with_an_unknown_key_still_gets_in_and_is_led_to_its_lane(harness, broker):
    job = document(lane="nvenc", priority="high")
    await broker.publish(job, key="whatever")
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Forward)
    message = await broker.take(queue_of("nvenc", "high"))
    assert message.message_id == job["job_id"]


async def test_the_priority_of_the_routing_key_wins_over_the_body(harness, broker):
    job = document(priority="high")
    await broker.publish(job, key="cpu.low")
    await harness.one()
    assert (await harness.repository.job(job["job_id"])).priority == "low"


async def test_an_idle_worker_takes_the_highest_priority_first(harness, broker):
    order = ["low", "normal", "high"]
    jobs = [document() for _ in order]
    for job, priority in zip(jobs, order, strict=True):
        await broker.publish(job, key=f"cpu.{priority}")
    done = [(await harness.one()).job_id for _ in order]
    assert done == [job["job_id"] for job in reversed(jobs)]


async def test_a_job_of_a_higher_priority_that_comes_later_is_the_next(harness, broker):
    for _ in range(3):
        await broker.publish(document(), key="cpu.normal")
    await harness.one()
    await harness.one()
    urgent = document()
    await broker.publish(urgent, key="cpu.high")
    await asyncio.sleep(2 * EMPTY_SECONDS)
    assert (await harness.one()).job_id == urgent["job_id"]


async def test_a_consumer_exists_only_while_the_worker_is_idle(harness, broker):
    async def on_run(_context):
        await broker.consumers(0)

    harness.task.on_run = on_run
    waiting = asyncio.create_task(harness.one())
    await broker.consumers(3)
    await broker.publish(document())
    assert isinstance((await waiting).outcome, Completed)


async def test_a_cancelled_wait_leaves_no_consumer_and_loses_no_message(harness, broker):
    waiting = asyncio.create_task(harness.consumer.next())
    await broker.consumers(3)
    waiting.cancel()
    await asyncio.wait({waiting})
    await broker.consumers(0)
    job = document()
    await broker.publish(job)
    assert (await harness.one()).job_id == job["job_id"]


async def test_an_idle_worker_runs_messages_that_arrive_at_once_one_after_the_other(harness, broker):
    first = asyncio.create_task(harness.one())
    await broker.consumers(3)
    jobs = [document(), document(), document()]
    keys = ("cpu.low", "cpu.normal", "cpu.high")
    await asyncio.gather(*(broker.publish(job, key=key) for job, key in zip(jobs, keys, strict=True)))
    async with asyncio.timeout(10):
        done = [await first, await harness.one(), await harness.one()]
    assert {one.job_id for one in done} == {job["job_id"] for job in jobs}
    assert harness.task.runs == 3
    await broker.settled()


async def test_all_queues_are_asked_before_there_is_nothing(harness, broker, monkeypatch):
    """A drain would else end while a job waits that the last one put into another queue."""
    monkeypatch.setattr("worker.adapters.rabbitmq.consumer.EMPTY_SECONDS", 60.0)
    await broker.publish(document(), key="cpu.low")
    first = await harness.consumer.next(wait=False)
    await first.settle(Settlement(Completed()))
    await broker.publish(document(), key="cpu.high")
    second = await harness.consumer.next(wait=False)
    assert second is not None
    assert second.queue == queue_of("cpu", "high")
    await second.settle(Settlement(Completed()))
    assert await harness.consumer.next(wait=False) is None


async def test_the_acknowledgement_of_a_short_job_pushes_no_further_one_to_a_consumer_that_leaves(
    broker, repository, provisioned_broker, tmp_path
):
    """What is pushed goes back as a redelivery, which a message without an id is adopted as the twin of another for."""
    harness = Harness(provisioned_broker, repository, tmp_path, lanes=LANES)
    last = routing_key(LANES[-1], PRIORITIES[-1])
    waiting = asyncio.create_task(harness.consumer.next())
    await broker.consumers(len(LANES) * len(PRIORITIES))
    for _ in range(2):
        await broker.publish(document(), key=last)
    async with asyncio.timeout(10):
        first = await waiting
        await first.settle(Settlement(Completed()))
        second = await harness.consumer.next()
    assert not first.redelivered
    assert not second.redelivered
    await second.settle(Settlement(Completed()))
    await harness.close()


async def test_a_wait_that_is_cancelled_twice_loses_no_message(harness, broker):
    for number in range(16):
        job = document()
        await broker.publish(job)
        waiting = asyncio.create_task(harness.consumer.next())
        await asyncio.wait({waiting}, timeout=number * 0.0005)
        waiting.cancel()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        async with asyncio.timeout(5):
            delivery = await harness.consumer.next() if waiting.cancelled() else waiting.result()
        assert json.loads(delivery.body)["job_id"] == job["job_id"]
        await delivery.settle(Settlement(Completed()))


async def test_a_worker_that_waits_again_and_again_leaves_nothing_on_its_channel(harness):
    for _ in range(3):
        waiting = asyncio.create_task(harness.consumer.next())
        await asyncio.wait({waiting}, timeout=0.3)
        waiting.cancel()
        await asyncio.wait({waiting})
    underlay = await (await harness.link.channel()).get_underlay_channel()
    assert len(underlay.on_consumer_cancel_callbacks) <= 1
