"""The settlement table of broker.md for a message that comes again: run once, whoever holds or has ended its job."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
import structlog
from sqlalchemy import update
from structlog.testing import LogCapture

from tests.support.engine import DEFER_SECONDS, Harness, document
from worker.adapters.sql.schema import jobs, moment
from worker.core.attempt import Completed, Dead, Defer, Forward
from worker.core.errors import BadInput
from worker.core.message.dialects import decode
from worker.core.ports import ClaimRequest, Granted
from worker.core.record import TERMINAL
from worker.core.routing import defer_name, queue_of

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_a_redelivery_of_a_completed_job_is_acknowledged_without_running(harness, broker):
    job = document()
    await broker.publish(job)
    await harness.one()
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Completed)
    assert harness.task.runs == 1
    await broker.settled()


async def test_a_live_lease_elsewhere_defers(harness, broker, repository, provisioned_broker, tmp_path, monkeypatch):
    logged = LogCapture()
    monkeypatch.setattr("worker.engine.executor.log", structlog.wrap_logger(None, [logged], structlog.BoundLogger))
    other = Harness(provisioned_broker, repository, tmp_path, worker_id="tester-2")
    started, release = asyncio.Event(), asyncio.Event()

    async def on_run(_context):
        started.set()
        await release.wait()

    other.task.on_run = on_run
    job = document()
    await broker.publish(job)
    running = asyncio.create_task(other.one())
    await started.wait()
    await broker.publish(job)
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Defer)
    assert "tester-2" in settlement.outcome.reason
    assert logged.entries[-1]["reason"] == settlement.outcome.reason
    release.set()
    assert isinstance((await running).outcome, Completed)
    assert isinstance((await harness.one()).outcome, Completed)
    assert harness.task.runs == 0
    await broker.settled()
    await other.close()


async def test_an_expired_lease_is_a_crash_that_counts_and_after_the_third_the_job_is_dead(harness, broker, repository):
    job = document()
    await broker.publish(job)
    for _ in range(3):
        await die_after_the_claim(harness, await harness.consumer.next())
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Dead)
    record = await repository.job(job["job_id"])
    assert (record.state, record.error_type) == ("dead", "CrashLoop")
    assert [attempt.outcome for attempt in record.attempts] == ["crashed", "crashed", "crashed"]
    assert harness.task.runs == 0


async def die_after_the_claim(harness: Harness, delivery) -> None:
    """Leave what a worker leaves that is killed right after its claim: a lease that runs out, a lost connection."""
    digest = hashlib.sha256(delivery.body).hexdigest()
    request = ClaimRequest(decode(delivery.body), digest, harness.worker_id, 5.0, "cpu", "normal")
    assert isinstance(await harness.repository.claim(request, harness.policy), Granted)

    def run_out(connection):
        connection.execute(update(jobs).values(lease_until=moment(-1)))

    await harness.repository._database.write(run_out)
    await harness.link.reset()


async def test_a_job_that_its_crashes_ended_is_reported_too(harness, broker):
    job = document()
    await broker.publish(job)
    for _ in range(3):
        await die_after_the_claim(harness, await harness.consumer.next())
    await harness.one()
    assert [(change.state, change.error_type, change.attempt) for change in harness.changes] == [
        ("dead", "CrashLoop", None)
    ]


async def test_a_message_without_an_id_is_adopted_and_its_twin_gets_another_id(harness, broker):
    body = document()
    del body["job_id"]
    await broker.publish_bare(body)
    await broker.publish_bare(body)
    adopted = [await harness.one(), await harness.one()]
    assert all(isinstance(settlement.outcome, Forward) for settlement in adopted)
    first, second = (settlement.job_id for settlement in adopted)
    assert first != second
    for job_id in (first, second):
        await harness.until(job_id, "completed")
    await broker.settled()


async def test_an_id_that_returns_with_another_body_is_refused(harness, broker):
    job = document()
    await broker.publish(job)
    await harness.one()
    await broker.publish(job | {"job_title": "another"})
    assert isinstance((await harness.one()).outcome, Dead)
    await broker.dead()
    assert (await harness.repository.job(job["job_id"])).state == "completed"
    (refusal,) = await harness.repository.refusals()
    assert refusal.error_type == "IdReused"


async def test_an_id_that_returns_with_other_bytes_of_the_same_job_is_acknowledged(harness, broker):
    job = document()
    await broker.publish(job)
    await harness.one()
    await broker.publish(json.dumps(job, indent=4).encode())
    assert isinstance((await harness.one()).outcome, Completed)
    assert await harness.repository.refusals() == []


async def test_a_replayed_dead_job_opens_a_new_round(harness, broker):
    harness.fail_with(BadInput("no media"))
    job = document()
    await broker.publish(job)
    await harness.one()
    dead = await broker.dead()
    harness.task.on_run = None
    await broker.publish(dead.body, headers=dead.headers, message_id=dead.message_id)
    await harness.until(job["job_id"], "completed")
    record = await harness.repository.job(job["job_id"])
    assert record.round == 2
    assert [(attempt.round, attempt.number) for attempt in record.attempts] == [(1, 1), (2, 1)]


async def test_a_dead_job_whose_message_returns_unasked_goes_back_to_the_dead_letters(harness, broker):
    harness.fail_with(BadInput("no media"))
    job = document()
    await broker.publish(job)
    await harness.one()
    await broker.dead()
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Dead)
    assert harness.task.runs == 1
    await broker.dead()


async def test_a_lost_channel_settles_nothing_and_the_redelivery_finds_the_job_completed(harness, broker):
    async def on_run(_context):
        if harness.task.runs == 1:
            await harness.link.reset()

    harness.task.on_run = on_run
    job = document()
    await broker.publish(job)
    await harness.one()
    assert (await harness.repository.job(job["job_id"])).state == "completed"
    assert isinstance((await harness.one()).outcome, Completed)
    assert harness.task.runs == 1
    await broker.settled()


async def test_two_engines_never_run_one_job_at_the_same_time(
    harness, broker, repository, provisioned_broker, tmp_path
):
    running, most = 0, 0

    async def on_run(_context):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.2)
        running -= 1

    other = Harness(provisioned_broker, repository, tmp_path, worker_id="tester-2")
    harness.task.on_run = other.task.on_run = on_run
    job = document()
    for _ in range(4):
        await broker.publish(job)
    await asyncio.gather(*(one.until(job["job_id"], *TERMINAL) for one in (harness, other)))
    while await broker.waiting(queue_of("cpu", "normal")) or await broker.waiting(defer_name(DEFER_SECONDS)):
        await harness.one()
    assert most == 1
    assert harness.task.runs + other.task.runs == 1
    await other.close()
