"""A real memory alarm and a real disk alarm: what is published waits, and what was taken goes on."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.faults import ALARMS
from tests.support.engine import document
from worker.adapters.checks import services
from worker.adapters.rabbitmq.admin import RabbitAdmin
from worker.core.attempt import Completed, Retry
from worker.core.errors import BrokerUnavailable, SourceMissing
from worker.core.record import Hardware
from worker.core.topology import topology
from worker.engine.host.presence import WorkerPresence

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(180)]


@pytest.mark.parametrize("resource", ALARMS)
async def test_under_an_alarm_jobs_end_and_copies_wait_and_nothing_is_lost_or_doubled(
    harness, broker, services, provisioned_broker, resource
):
    raised, cleared = ALARMS[resource]
    whole, failing = document(), document()
    await broker.publish(whole)
    await broker.publish(failing)

    async def fail_once(_context):
        if harness.task.runs == 2:
            raise SourceMissing("away")

    harness.task.on_run = fail_once
    await asyncio.to_thread(services.rabbitmqctl, *raised)
    try:
        async with asyncio.timeout(60):
            while resource not in await asyncio.to_thread(services.rabbitmqctl, "eval", "rabbit_alarm:get_alarms()."):
                await asyncio.sleep(0.2)
        assert isinstance((await harness.one(30)).outcome, Completed), "an acknowledgement is no message"
        waiting = asyncio.create_task(harness.one(90))
        async with asyncio.timeout(30):
            while not harness.publisher.blocked:
                await asyncio.sleep(0.05)
        assert f"low on {resource}" in harness.publisher.blocked
        assert not waiting.done()
        if resource == "memory":
            await looks_blocked(provisioned_broker, harness)
    finally:
        await asyncio.to_thread(services.rabbitmqctl, *cleared)
    assert isinstance((await waiting).outcome, Retry)
    await harness.until(failing["job_id"], "completed", seconds=60)
    assert harness.publisher.blocked == ""
    assert harness.task.runs == 3
    records = [await harness.repository.job(job["job_id"]) for job in (whole, failing)]
    assert [[tried.outcome for tried in record.attempts] for record in records] == [
        ["completed"],
        ["failed", "completed"],
    ]
    await broker.settled(30)


async def looks_blocked(url: str, harness) -> None:
    """Doctor and the fleet's view say what is wrong."""
    with pytest.raises(BrokerUnavailable, match="short of memory or disk"):
        await services.broker(RabbitAdmin(url), topology())
    presence = WorkerPresence("w", "h", "1", Hardware, lambda: harness.publisher.blocked)
    assert "takes no messages (low on memory)" in (await presence.describe()).problem
    presence.close()
