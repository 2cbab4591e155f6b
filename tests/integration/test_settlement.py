"""The settlement table of broker.md against the real broker: how an attempt ends, and where its message goes."""

from __future__ import annotations

import asyncio
import errno
import json
from datetime import UTC, datetime

import pika
import pytest

from tests.support.engine import DELAYS, document
from tests.support.queues import wait_for_dead
from worker.core.attempt import Attempt, Cancelled, Completed, Dead, Defer, Requeue, Retry, is_publish_folder
from worker.core.errors import BadInput, DatabaseUnavailable, ShuttingDown, SourceMissing, ToolMissing
from worker.core.message.dialects import decode
from worker.core.routing import DYING, JOBS, retry_name
from worker.engine.attempt.leftovers import remove_leftovers

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_a_job_is_acknowledged_after_its_output_is_visible_and_its_row_says_completed(harness, broker):
    job = document()
    await broker.publish(job)
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Completed)
    record = await harness.repository.job(job["job_id"])
    assert record.state == "completed"
    (artifact,) = record.artifacts
    assert (harness.storage / job["job_id"] / "out.txt").read_text() == "hello"
    assert artifact.bytes == 5
    assert record.manifest_url is not None
    assert harness.steps.index("recorded") < harness.steps.index("settling")
    await broker.settled()


async def test_three_transient_failures_wait_in_the_delay_queues_and_the_fourth_is_dead(harness, broker):
    harness.fail_with(SourceMissing("the mount is away"))
    job = document()
    await broker.publish(job)
    for number, delay in enumerate(DELAYS, 1):
        settlement = await harness.one()
        assert isinstance(settlement.outcome, Retry)
        assert settlement.outcome.delay == delay
        assert settlement.outcome.failure.attempt == number
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Dead)
    message = await broker.dead()
    assert message.headers["x-attempt"] == 3
    assert message.headers["x-max-attempts"] == 4
    assert message.headers["x-last-error"] == "the mount is away"
    assert message.headers["x-error-type"] == "SourceMissing"
    assert message.headers["x-last-worker"] == "tester-1"
    assert message.message_id == job["job_id"]
    deaths = {death["reason"]: death for death in message.headers["x-death"]}
    assert deaths["rejected"]["queue"] == DYING
    assert message.routing_key == "cpu.normal"
    record = await harness.repository.job(job["job_id"])
    assert record.state == "dead"
    assert [attempt.number for attempt in record.attempts] == [1, 2, 3, 4]
    await broker.settled()


async def test_a_failure_that_passes_is_completed_by_its_retry(harness, broker):
    harness.fail_with(SourceMissing("not yet"), times=1)
    job = document()
    await broker.publish(job)
    await harness.until(job["job_id"], "completed")
    assert harness.task.runs == 2
    await broker.settled()


async def test_a_permanent_error_is_dead_at_once(harness, broker):
    harness.fail_with(BadInput("no media"))
    job = document()
    await broker.publish(job)
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Dead)
    assert harness.task.runs == 1
    message = await broker.dead()
    assert json.loads(message.body) == job


async def test_a_fault_in_a_task_is_counted_and_does_not_end_the_worker(harness, broker):
    harness.fail_with(ZeroDivisionError("a bug"), times=1)
    job = document()
    await broker.publish(job)
    await harness.until(job["job_id"], "completed")
    attempts = (await harness.repository.job(job["job_id"])).attempts
    assert [(attempt.outcome, attempt.error_type) for attempt in attempts] == [
        ("failed", "ZeroDivisionError"),
        ("completed", None),
    ]


@pytest.mark.parametrize("body", [b"garbage", b"[]", b'{"tasks": []}', b'{"tasks": [{"module": "write", "dta": {}}]}'])
async def test_a_message_that_is_no_job_is_dead_lettered_with_its_reasons_recorded(harness, broker, body):
    await broker.publish(body)
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Dead)
    assert (await broker.dead()).body == body
    (refusal,) = await harness.repository.refusals()
    assert refusal.error_type == "InvalidJob"
    assert refusal.problems


async def test_a_job_with_an_unknown_module_is_dead_and_its_row_names_the_nearest(harness, broker):
    job = document(tasks=[{"module": "wrote", "data": {}}])
    await broker.publish(job)
    await harness.one()
    await broker.dead()
    record = await harness.repository.job(job["job_id"])
    assert record.state == "dead"
    assert record.error == "tasks[0]: unknown module 'wrote'; did you mean 'write'?"


@pytest.mark.parametrize("error", [ToolMissing("ffmpeg is gone"), OSError(errno.ENOSPC, "No space left on device")])
async def test_infrastructure_errors_defer_and_charge_nobody(harness, broker, error):
    harness.fail_with(error, times=2)
    job = document()
    await broker.publish(job)
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Defer)
    await harness.until(job["job_id"], "completed")
    attempts = (await harness.repository.job(job["job_id"])).attempts
    assert [(attempt.number, attempt.outcome) for attempt in attempts] == [
        (1, "deferred"),
        (1, "deferred"),
        (1, "completed"),
    ]
    await broker.settled()


async def test_a_job_interrupted_by_shutdown_keeps_its_attempts(harness, broker):
    started = asyncio.Event()

    async def on_run(_context):
        started.set()
        await asyncio.sleep(30)

    harness.task.on_run = on_run
    job = document()
    await broker.publish(job)
    running = asyncio.create_task(harness.one())
    await started.wait()
    harness.executor.interrupt(ShuttingDown("the worker is going down"))
    assert isinstance((await running).outcome, Requeue)
    assert (await harness.repository.job(job["job_id"])).state == "queued"
    harness.task.on_run = None
    await harness.until(job["job_id"], "completed")
    attempts = (await harness.repository.job(job["job_id"])).attempts
    assert [(attempt.number, attempt.outcome) for attempt in attempts] == [(1, "interrupted"), (1, "completed")]


async def test_a_worker_that_must_go_while_the_database_is_away_gives_the_message_back(harness, broker, monkeypatch):
    asked = asyncio.Event()

    async def away(*_arguments):
        asked.set()
        raise DatabaseUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(harness.repository, "claim", away)
        job = document()
        await broker.publish(job)
        running = asyncio.create_task(harness.one())
        await asked.wait()
        harness.executor.interrupt(ShuttingDown("the worker is going down"))
        assert isinstance((await running).outcome, Requeue)
    harness.executor._persistence.interrupted = None
    await harness.until(job["job_id"], "completed")


async def test_every_change_of_state_is_reported_with_who_brought_it_about(harness, broker):
    harness.fail_with(BadInput("no media"))
    job = document(job_title="A film")
    await broker.publish(job)
    await harness.one()
    assert [change.state for change in harness.changes] == ["running", "dead"]
    dead = harness.changes[-1]
    assert (dead.title, dead.worker, dead.attempt, dead.error) == ("A film", "tester-1", 1, "no media")


async def test_a_cancelled_waiting_job_is_acknowledged_without_running(harness, broker):
    job = document()
    await harness.repository.request_cancel(job["job_id"])
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Cancelled)
    assert harness.task.runs == 0
    await broker.settled()


async def test_cancelling_a_running_job_ends_it_and_publishes_nothing(harness, broker):
    async def on_run(_context):
        await harness.repository.request_cancel(job["job_id"])
        await asyncio.sleep(30)

    harness.task.on_run = on_run
    job = document()
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Cancelled)
    assert (await harness.repository.job(job["job_id"])).state == "cancelled"
    assert list(harness.storage.rglob("*.txt")) == []
    await broker.settled()


async def test_every_copy_is_persistent_and_keeps_what_the_publisher_said(harness, broker):
    harness.fail_with(SourceMissing("away"))
    job = document()
    await broker.publish(
        job,
        headers={"x-mine": "dropped", "traceparent": "00-1", "CC": ["cpu.high"]},
        type="encode",
        correlation_id="c1",
        app_id="shop",
    )
    await harness.one()
    message = await broker.take(retry_name(DELAYS[0]))
    assert message.delivery_mode == 2
    assert (message.type, message.correlation_id, message.app_id) == ("encode", "c1", "shop")
    assert message.headers["traceparent"] == "00-1"
    assert not {"x-mine", "CC"} & set(message.headers)
    assert message.headers["x-first-queued-at"]


async def test_the_scratch_of_every_ended_attempt_is_gone(harness, broker):
    harness.fail_with(SourceMissing("away"), times=1)
    job = document()
    await broker.publish(job)
    await harness.until(job["job_id"], "completed")
    assert list(harness.scratch.root.iterdir()) == []


async def test_a_message_that_no_client_can_decode_ends_in_the_dead_letter_queue_and_the_worker_goes_on(
    harness, broker
):
    def send() -> None:
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            # pamqp makes a date of it, of the year 146,140,482
            properties = pika.BasicProperties(delivery_mode=2, timestamp=2**62, message_id="poison")
            connection.channel().basic_publish(JOBS, "cpu.normal", b"{}", properties)

    await asyncio.to_thread(send)
    job = document()
    await broker.publish(job)
    await harness.until(job["job_id"], "completed", seconds=60)
    await asyncio.to_thread(wait_for_dead, broker.url, 1)


async def test_a_job_that_dies_deletes_no_file_of_another_in_a_folder_that_is_called_like_an_episode(harness, broker):
    episode = f"file://{harness.storage}/s01/e07/"
    first = document(destination=episode)
    await broker.publish(first)
    await harness.until(first["job_id"], "completed")
    second = document(destination=episode)
    await remove_leftovers(harness.executor._resources.storages, second["job_id"], [f"{episode}out.txt"])
    assert (harness.storage / "s01/e07/out.txt").read_text() == "hello"
    assert _attempt(first).publish_folder != _attempt(second).publish_folder
    assert is_publish_folder(_attempt(first).publish_folder)


def _attempt(job):
    return Attempt(decode(json.dumps(job).encode()), 1, 1, 1, "w", 5.0, datetime.now(UTC))


@pytest.mark.parametrize("forged", ["rejected", [None, 7], [{"reason": 5}], [{"reason": "rejected", "count": 99}]])
async def test_a_death_header_that_no_broker_wrote_holds_no_dead_letter_back(harness, broker, forged):
    await broker.publish(b"no job", message_id="forger", headers={"x-death": forged})
    await harness.one()
    await broker.publish(b"none either", message_id="honest")
    await harness.one()
    letters = [await broker.dead(), await broker.dead()]
    assert {letter.message_id for letter in letters} == {"forger", "honest"}
    copy = next(letter for letter in letters if letter.message_id == "forger")
    assert copy.headers["x-error-type"] == "InvalidJob"
    await broker.settled()
