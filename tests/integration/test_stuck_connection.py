"""A connection on which nothing arrives any more costs seconds, and neither a message nor the worker."""

from __future__ import annotations

import asyncio
import re
import struct

import pytest
from yarl import URL

from tests.chaos.proxy import Proxy
from tests.support.engine import Harness, document
from worker.adapters.rabbitmq.waiting import LEAVE_SECONDS
from worker.core.attempt import Completed, Forward, Settlement

pytestmark = pytest.mark.xdist_group("rabbitmq")

HEARTBEAT_SECONDS = 2
GIVEN_UP_SECONDS = 8.0
"""With these heartbeats the broker gives such a connection up within six seconds, and aiormq after nine."""
CLOSE_SECONDS = 2.0
"""How long aiormq waits for the broker's answer to the end of a connection."""
SLACK_SECONDS = 2.0
METHODS = {"open": (20, 10), "declare": (50, 10), "consume": (60, 20), "cancel": (60, 30), "get": (60, 70)}


def says(method: str) -> re.Pattern[bytes]:
    """Return what the frame of an AMQP method begins with: its kind, channel and size, the class and the method."""
    return re.compile(rb"\x01.{6}" + re.escape(struct.pack(">HH", *METHODS[method])), re.DOTALL)


async def sticks(proxy: Proxy) -> None:
    """Return when the proxy has received what it swallows at."""
    async with asyncio.timeout(5):
        while proxy.swallow_at is not None:
            await asyncio.sleep(0.01)


@pytest.fixture
async def proxy(provisioned_broker):
    proxy = Proxy(URL(provisioned_broker).port)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def harness(provisioned_broker, broker, proxy, repository, tmp_path, monkeypatch):
    monkeypatch.setattr("worker.adapters.rabbitmq.link.HEARTBEAT_SECONDS", HEARTBEAT_SECONDS)
    monkeypatch.setattr("worker.adapters.rabbitmq.link.CONNECT_SECONDS", HEARTBEAT_SECONDS)
    harness = Harness(str(URL(provisioned_broker).with_host("127.0.0.1").with_port(proxy.port)), repository, tmp_path)
    yield harness
    await harness.close()


async def test_a_connection_that_sticks_while_the_consumers_leave_costs_no_message_and_no_second_run(
    harness, broker, proxy
):
    harness.task.on_run = lambda _: sticks(proxy)
    waiting = asyncio.create_task(harness.consumer.next())
    await broker.consumers(3)
    proxy.swallow_at = says("cancel")
    jobs = [document(), document()]
    await broker.publish(jobs[0])
    delivery = await asyncio.wait_for(waiting, 5)
    assert isinstance((await harness.executor.execute(delivery)).outcome, Completed)
    assert not harness.consumer._waiting._leaving.done()
    await broker.publish(jobs[1])
    # The acknowledgement went nowhere: the first job's message comes once more.
    ended = [await harness.one(LEAVE_SECONDS + CLOSE_SECONDS + SLACK_SECONDS), await harness.one()]
    assert {one.job_id for one in ended} == {job["job_id"] for job in jobs}
    assert harness.task.runs == 2
    for job in jobs:
        record = await harness.repository.job(job["job_id"])
        assert (record.state, [attempt.outcome for attempt in record.attempts]) == ("completed", ["completed"])
    # Of the consumers that could not leave none is left on the broker.
    await broker.consumers(0)
    await harness.close()
    await broker.settled()


async def test_a_worker_goes_in_peace_whatever_its_consumers_meet_while_they_leave(harness):
    async def ends_as_aiormq_does() -> None:
        raise Exception  # noqa: TRY002 - what a pending `basic.cancel` gets when its connection is closed in order

    await harness.consumer.next(wait=False)
    harness.consumer._waiting._leaving = asyncio.create_task(ends_as_aiormq_does())
    await harness.consumer.close()


@pytest.mark.parametrize("method", METHODS)
async def test_an_answer_that_never_comes_is_waited_for_a_heartbeat_and_asked_for_elsewhere(
    harness, broker, proxy, monkeypatch, method
):
    monkeypatch.setattr("worker.adapters.rabbitmq.waiting.SWEEP_SECONDS", 0.2)
    proxy.swallow_at = says(method)
    job = document()
    if method == "get":
        await broker.publish(job)
    waiting = asyncio.create_task(harness.consumer.next())
    await sticks(proxy)
    if method != "get":
        await broker.publish(job)
    delivery = await asyncio.wait_for(waiting, GIVEN_UP_SECONDS)
    assert isinstance((await harness.executor.execute(delivery)).outcome, Completed)
    assert harness.task.runs == 1
    await harness.close()
    await broker.settled()


async def test_a_worker_outlives_a_connection_that_aiormq_gives_up(harness, broker, proxy, monkeypatch):
    job = document()
    await broker.publish(job)
    delivery = await asyncio.wait_for(harness.consumer.next(), 5)
    await harness.publisher.channel()
    # aiormq waits as long as the connection says, and ours is longer now: what waits is ended by aiormq.
    monkeypatch.setattr("worker.adapters.rabbitmq.link.HEARTBEAT_SECONDS", 20)
    proxy.swallow()
    route = (job["job_id"], "cpu", "normal")
    async with asyncio.timeout(15):
        known, first = await asyncio.gather(
            delivery.settle(Settlement(Forward(*route), *route)), harness.consumer.next()
        )
        assert not known
        # The original comes back, and it alone: no copy is published for a delivery that is lost.
        await first.settle(Settlement(Completed()))
    assert first.body == delivery.body
    assert first.redelivered
    await harness.close()
    await broker.settled()
