"""Copies of a message whose job somebody has: one waits, the others go."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from tests.support.engine import DEFER_SECONDS, DELAYS, Harness, document
from worker.core.attempt import Completed, Defer, Surplus
from worker.core.message.copies import copy_exchange
from worker.core.message.dialects import decode
from worker.core.ports import ClaimRequest, Granted
from worker.core.routing import defer_name, queue_of

pytestmark = pytest.mark.xdist_group("rabbitmq")

COPIES = 40


async def held(harness: Harness, job: dict, lease_seconds: float = 60.0) -> Granted:
    """Let another worker have the job."""
    body = json.dumps(job).encode()
    request = ClaimRequest(decode(body), sha256(body).hexdigest(), "other", lease_seconds, "cpu", "normal")
    granted = await harness.repository.claim(request, harness.policy)
    assert isinstance(granted, Granted)
    return granted


async def test_of_many_copies_of_a_job_that_somebody_has_one_waits(harness, broker):
    job = document()
    await held(harness, job)
    for _ in range(COPIES):
        await broker.publish(job, key="cpu.high")
    innocent = document()
    await broker.publish(innocent, key="cpu.low")
    outcomes = []
    while not outcomes or not isinstance(outcomes[-1], Completed):
        outcomes.append((await harness.one()).outcome)
    assert len([one for one in outcomes if isinstance(one, Surplus)]) == COPIES - 1
    # The one that waits may have come back meanwhile, and waits again.
    assert len(outcomes) - COPIES < COPIES
    assert harness.task.runs == 1
    again = (await harness.one()).outcome
    assert isinstance(again, Defer)
    assert await broker.waiting(queue_of("cpu", "high")) == 0


async def test_the_copy_that_waits_runs_when_its_worker_is_gone(harness, broker):
    job = document()
    await held(harness, job, lease_seconds=1.0)
    for _ in range(3):
        await broker.publish(job)
    await harness.until(job["job_id"], "completed")
    assert harness.task.runs == 1
    attempts = (await harness.repository.job(job["job_id"])).attempts
    assert [attempt.outcome for attempt in attempts] == ["crashed", "completed"]
    await broker.settled()


async def test_no_copy_that_came_before_the_confirm_is_settled_for_one_that_may_not_be_there(harness, broker):
    """The mark is written after the copy is confirmed, and before the original goes: a kill in between adds a copy."""
    job = document()
    await held(harness, job)
    await broker.publish(job)
    repository = harness.repository
    stand_by, calls = repository.stand_by, []

    async def lost(job_id, standby):
        calls.append(standby)
        await harness.link.reset()
        await stand_by(job_id, standby)

    repository.stand_by = lost
    assert isinstance((await harness.one()).outcome, Defer)
    repository.stand_by = stand_by
    outcomes = [(await harness.one()).outcome for _ in range(2)]
    assert sorted(type(one).__name__ for one in outcomes) == ["Defer", "Surplus"]
    assert len(calls) == 1


async def test_a_mark_that_a_publisher_wrote_is_none(harness, broker):
    job = document()
    await held(harness, job)
    for _ in range(3):
        await broker.publish(job, headers={"x-standby": "forged"})
    outcomes = [(await harness.one()).outcome for _ in range(3)]
    assert [type(one) for one in outcomes] == [Defer, Surplus, Surplus]


async def test_a_standby_that_is_not_due_for_long_waits_for_the_longest_delay(harness, broker):
    job = document()
    granted = await held(harness, job)
    failure = harness.policy.verdict(TimeoutError("slow"), granted.attempt).failure
    await harness.repository.retry_later(granted.attempt, failure, 60.0)
    await broker.publish(job)
    delivery = await harness.consumer.next()
    settlement = await harness.executor.execute(delivery)
    assert settlement.outcome.seconds > max(DELAYS)
    assert copy_exchange(settlement.outcome, DEFER_SECONDS, DELAYS) == f"media.retry.{max(DELAYS):g}s"
    assert copy_exchange(Defer("soon", seconds=0.1), DEFER_SECONDS, DELAYS) == defer_name(DEFER_SECONDS)
