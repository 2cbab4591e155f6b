"""The settlement table of broker.md, row by row, against the real broker."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pika
import pytest
from sqlalchemy import update

sys.path.insert(0, str(Path(__file__).parent))

from mail import wait_for_dead
from rig import DEFER_SECONDS, DELAYS, Rig, document

from worker.adapters.rabbitmq.consumer import EMPTY_SECONDS
from worker.adapters.sql.schema import jobs, moment
from worker.core.attempt import Attempt, Cancelled, Completed, Dead, Defer, Forward, Requeue, Retry, is_publish_folder
from worker.core.dialects import decode
from worker.core.errors import BadInput, DatabaseUnavailable, DiskFull, ShuttingDown, SourceMissing
from worker.core.ports import ClaimRequest, Granted
from worker.core.record import TERMINAL
from worker.core.routing import JOBS, LANES, PRIORITIES, defer_name, queue_of, retry_name, routing_key
from worker.engine.remains import clear

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def fail_with(rig: Rig, error: Exception, times: int = 10**6) -> None:
    async def on_run(_context):
        if rig.task.runs <= times:
            raise error

    rig.task.on_run = on_run


async def test_a_job_is_acknowledged_after_its_output_stands_and_its_row_says_completed(rig, broker):
    job = document()
    await broker.publish(job)
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Completed)
    record = await rig.repository.job(job["job_id"])
    assert record.state == "completed"
    (artifact,) = record.artifacts
    assert (rig.storage / job["job_id"] / "out.txt").read_text() == "hello"
    assert artifact.bytes == 5
    assert record.manifest_url is not None
    assert rig.steps.index("recorded") < rig.steps.index("settling")
    await broker.settled()


async def test_three_transient_failures_wait_in_the_delay_queues_and_the_fourth_is_dead(rig, broker):
    await fail_with(rig, SourceMissing("the mount is away"))
    job = document()
    await broker.publish(job)
    for number, delay in enumerate(DELAYS, 1):
        settlement = await rig.one()
        assert isinstance(settlement.outcome, Retry)
        assert settlement.outcome.delay == delay
        assert settlement.outcome.failure.attempt == number
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Dead)
    message = await broker.dead()
    assert message.headers["x-attempt"] == 3
    assert message.headers["x-max-attempts"] == 4
    assert message.headers["x-last-error"] == "the mount is away"
    assert message.headers["x-error-type"] == "SourceMissing"
    assert message.headers["x-last-worker"] == "tester-1"
    assert message.message_id == job["job_id"]
    deaths = {death["reason"]: death for death in message.headers["x-death"]}
    assert deaths["rejected"]["queue"] == queue_of("cpu", "normal")
    record = await rig.repository.job(job["job_id"])
    assert record.state == "dead"
    assert [attempt.number for attempt in record.attempts] == [1, 2, 3, 4]
    await broker.settled()


async def test_a_failure_that_passes_is_completed_by_its_retry(rig, broker):
    await fail_with(rig, SourceMissing("not yet"), times=1)
    job = document()
    await broker.publish(job)
    await rig.until(job["job_id"], "completed")
    assert rig.task.runs == 2
    await broker.settled()


async def test_a_permanent_error_is_dead_at_once(rig, broker):
    await fail_with(rig, BadInput("no media"))
    job = document()
    await broker.publish(job)
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Dead)
    assert rig.task.runs == 1
    message = await broker.dead()
    assert json.loads(message.body) == job


async def test_a_fault_in_a_task_is_counted_and_does_not_end_the_worker(rig, broker):
    await fail_with(rig, ZeroDivisionError("a bug"), times=1)
    job = document()
    await broker.publish(job)
    await rig.until(job["job_id"], "completed")
    attempts = (await rig.repository.job(job["job_id"])).attempts
    assert [(attempt.outcome, attempt.error_type) for attempt in attempts] == [
        ("failed", "ZeroDivisionError"),
        ("completed", None),
    ]


@pytest.mark.parametrize("body", [b"garbage", b"[]", b'{"tasks": []}', b'{"tasks": [{"module": "write", "dta": {}}]}'])
async def test_what_is_no_job_goes_to_the_dead_letters_with_its_reasons_recorded(rig, broker, body):
    await broker.publish(body)
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Dead)
    assert (await broker.dead()).body == body
    (refusal,) = await rig.repository.refusals()
    assert refusal.error_type == "InvalidJob"
    assert refusal.problems


async def test_a_job_with_an_unknown_module_is_dead_and_its_row_names_the_nearest(rig, broker):
    job = document(tasks=[{"module": "wrote", "data": {}}])
    await broker.publish(job)
    await rig.one()
    await broker.dead()
    record = await rig.repository.job(job["job_id"])
    assert record.state == "dead"
    assert record.error == "tasks[0]: unknown module 'wrote'; did you mean 'write'?"


@pytest.mark.parametrize("error", [DiskFull("no space left"), OSError(errno.ENOSPC, "No space left on device")])
async def test_infrastructure_errors_defer_and_charge_nobody(rig, broker, error):
    await fail_with(rig, error, times=2)
    job = document()
    await broker.publish(job)
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Defer)
    await rig.until(job["job_id"], "completed")
    attempts = (await rig.repository.job(job["job_id"])).attempts
    assert [(attempt.number, attempt.outcome) for attempt in attempts] == [
        (1, "deferred"),
        (1, "deferred"),
        (1, "completed"),
    ]
    await broker.settled()


async def test_a_job_interrupted_by_shutdown_keeps_its_attempts(rig, broker):
    started = asyncio.Event()

    async def on_run(_context):
        started.set()
        await asyncio.sleep(30)

    rig.task.on_run = on_run
    job = document()
    await broker.publish(job)
    running = asyncio.create_task(rig.one())
    await started.wait()
    rig.executor.interrupt(ShuttingDown("the worker is going down"))
    assert isinstance((await running).outcome, Requeue)
    assert (await rig.repository.job(job["job_id"])).state == "queued"
    rig.task.on_run = None
    await rig.until(job["job_id"], "completed")
    attempts = (await rig.repository.job(job["job_id"])).attempts
    assert [(attempt.number, attempt.outcome) for attempt in attempts] == [(1, "interrupted"), (1, "completed")]


async def test_a_worker_that_must_go_while_the_database_is_away_gives_the_message_back(rig, broker, monkeypatch):
    asked = asyncio.Event()

    async def away(*_arguments):
        asked.set()
        raise DatabaseUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(rig.repository, "claim", away)
        job = document()
        await broker.publish(job)
        running = asyncio.create_task(rig.one())
        await asked.wait()
        rig.executor.interrupt(ShuttingDown("the worker is going down"))
        assert isinstance((await running).outcome, Requeue)
    rig.executor._interrupted = None
    await rig.until(job["job_id"], "completed")


async def test_a_redelivery_of_a_completed_job_is_acknowledged_without_running(rig, broker):
    job = document()
    await broker.publish(job)
    await rig.one()
    await broker.publish(job)
    assert isinstance((await rig.one()).outcome, Completed)
    assert rig.task.runs == 1
    await broker.settled()


async def test_a_live_lease_elsewhere_defers(rig, broker, repository, provisioned_broker, tmp_path):
    other = Rig(provisioned_broker, repository, tmp_path, worker_id="tester-2")
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
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Defer)
    assert "tester-2" in settlement.outcome.reason
    release.set()
    assert isinstance((await running).outcome, Completed)
    assert isinstance((await rig.one()).outcome, Completed)
    assert rig.task.runs == 0
    await broker.settled()
    await other.close()


async def test_an_expired_lease_is_a_crash_that_counts_and_after_the_third_the_job_is_dead(rig, broker, repository):
    job = document()
    await broker.publish(job)
    for _ in range(3):
        await die_after_the_claim(rig, await rig.consumer.next())
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Dead)
    record = await repository.job(job["job_id"])
    assert (record.state, record.error_type) == ("dead", "CrashLoop")
    assert [attempt.outcome for attempt in record.attempts] == ["crashed", "crashed", "crashed"]
    assert rig.task.runs == 0


async def die_after_the_claim(rig: Rig, delivery) -> None:
    """Leave what a worker leaves that is killed right after its claim: a lease that runs out, a lost connection."""
    digest = hashlib.sha256(delivery.body).hexdigest()
    request = ClaimRequest(decode(delivery.body), digest, rig.worker_id, 5.0, "cpu", "normal")
    assert isinstance(await rig.repository.claim(request, rig.policy), Granted)

    def run_out(connection):
        connection.execute(update(jobs).values(lease_until=moment(-1)))

    await rig.repository._database.write(run_out)
    await rig.link.reset()


async def test_every_change_of_state_is_told_with_who_brought_it_about(rig, broker):
    await fail_with(rig, BadInput("no media"))
    job = document(job_title="A film")
    await broker.publish(job)
    await rig.one()
    assert [change.state for change in rig.changes] == ["running", "dead"]
    dead = rig.changes[-1]
    assert (dead.title, dead.worker, dead.attempt, dead.error) == ("A film", "tester-1", 1, "no media")


async def test_a_job_that_its_crashes_ended_is_told_of_too(rig, broker):
    job = document()
    await broker.publish(job)
    for _ in range(3):
        await die_after_the_claim(rig, await rig.consumer.next())
    await rig.one()
    assert [(change.state, change.error_type, change.attempt) for change in rig.changes] == [
        ("dead", "CrashLoop", None)
    ]


async def test_a_message_without_an_id_is_adopted_and_its_twin_gets_another_id(rig, broker):
    body = document()
    del body["job_id"]
    await broker.publish_bare(body)
    await broker.publish_bare(body)
    adopted = [await rig.one(), await rig.one()]
    assert all(isinstance(settlement.outcome, Forward) for settlement in adopted)
    first, second = (settlement.job_id for settlement in adopted)
    assert first != second
    for job_id in (first, second):
        await rig.until(job_id, "completed")
    await broker.settled()


async def test_an_id_that_returns_with_another_body_is_refused(rig, broker):
    job = document()
    await broker.publish(job)
    await rig.one()
    await broker.publish(job | {"job_title": "another"})
    assert isinstance((await rig.one()).outcome, Dead)
    await broker.dead()
    assert (await rig.repository.job(job["job_id"])).state == "completed"
    (refusal,) = await rig.repository.refusals()
    assert refusal.error_type == "IdReused"


async def test_an_id_that_returns_with_other_bytes_of_the_same_job_is_acknowledged(rig, broker):
    job = document()
    await broker.publish(job)
    await rig.one()
    await broker.publish(json.dumps(job, indent=4).encode())
    assert isinstance((await rig.one()).outcome, Completed)
    assert await rig.repository.refusals() == []


async def test_a_cancelled_waiting_job_is_acknowledged_without_running(rig, broker):
    job = document()
    await rig.repository.request_cancel(job["job_id"])
    await broker.publish(job)
    assert isinstance((await rig.one()).outcome, Cancelled)
    assert rig.task.runs == 0
    await broker.settled()


async def test_cancelling_a_running_job_ends_it_and_publishes_nothing(rig, broker):
    async def on_run(_context):
        await rig.repository.request_cancel(job["job_id"])
        await asyncio.sleep(30)

    rig.task.on_run = on_run
    job = document()
    await broker.publish(job)
    assert isinstance((await rig.one()).outcome, Cancelled)
    assert (await rig.repository.job(job["job_id"])).state == "cancelled"
    assert list(rig.storage.rglob("*.txt")) == []
    await broker.settled()


async def test_a_message_with_an_unknown_key_still_gets_in_and_is_led_to_its_lane(rig, broker):
    job = document(lane="nvenc", priority="high")
    await broker.publish(job, key="whatever")
    settlement = await rig.one()
    assert isinstance(settlement.outcome, Forward)
    message = await broker.take(queue_of("nvenc", "high"))
    assert message.message_id == job["job_id"]


async def test_the_priority_of_the_routing_key_wins_over_the_body(rig, broker):
    job = document(priority="high")
    await broker.publish(job, key="cpu.low")
    await rig.one()
    assert (await rig.repository.job(job["job_id"])).priority == "low"


async def test_a_replayed_dead_job_opens_a_new_round(rig, broker):
    await fail_with(rig, BadInput("no media"))
    job = document()
    await broker.publish(job)
    await rig.one()
    dead = await broker.dead()
    rig.task.on_run = None
    await broker.publish(dead.body, headers=dead.headers, message_id=dead.message_id)
    await rig.until(job["job_id"], "completed")
    record = await rig.repository.job(job["job_id"])
    assert record.round == 2
    assert [(attempt.round, attempt.number) for attempt in record.attempts] == [(1, 1), (2, 1)]


async def test_a_dead_job_whose_message_returns_unasked_goes_back_to_the_dead_letters(rig, broker):
    await fail_with(rig, BadInput("no media"))
    job = document()
    await broker.publish(job)
    await rig.one()
    await broker.dead()
    await broker.publish(job)
    assert isinstance((await rig.one()).outcome, Dead)
    assert rig.task.runs == 1
    await broker.dead()


async def test_an_idle_worker_takes_the_highest_priority_first(rig, broker):
    order = ["low", "normal", "high"]
    jobs = [document() for _ in order]
    for job, priority in zip(jobs, order, strict=True):
        await broker.publish(job, key=f"cpu.{priority}")
    done = [(await rig.one()).job_id for _ in order]
    assert done == [job["job_id"] for job in reversed(jobs)]


async def test_a_job_of_a_higher_priority_that_comes_later_is_the_next(rig, broker):
    for _ in range(3):
        await broker.publish(document(), key="cpu.normal")
    await rig.one()
    await rig.one()
    urgent = document()
    await broker.publish(urgent, key="cpu.high")
    await asyncio.sleep(2 * EMPTY_SECONDS)
    assert (await rig.one()).job_id == urgent["job_id"]


async def test_a_consumer_exists_only_while_the_worker_is_idle(rig, broker):
    async def on_run(_context):
        await broker.consumers(0)

    rig.task.on_run = on_run
    waiting = asyncio.create_task(rig.one())
    await broker.consumers(3)
    await broker.publish(document())
    assert isinstance((await waiting).outcome, Completed)


async def test_a_cancelled_wait_leaves_no_consumer_and_loses_no_message(rig, broker):
    waiting = asyncio.create_task(rig.consumer.next())
    await broker.consumers(3)
    waiting.cancel()
    await asyncio.wait({waiting})
    await broker.consumers(0)
    job = document()
    await broker.publish(job)
    assert (await rig.one()).job_id == job["job_id"]


async def test_what_comes_to_an_idle_worker_at_once_is_run_one_after_the_other(rig, broker):
    first = asyncio.create_task(rig.one())
    await broker.consumers(3)
    jobs = [document(), document(), document()]
    keys = ("cpu.low", "cpu.normal", "cpu.high")
    await asyncio.gather(*(broker.publish(job, key=key) for job, key in zip(jobs, keys, strict=True)))
    async with asyncio.timeout(10):
        done = [await first, await rig.one(), await rig.one()]
    assert {one.job_id for one in done} == {job["job_id"] for job in jobs}
    assert rig.task.runs == 3
    await broker.settled()


async def test_all_queues_are_asked_before_there_is_nothing(rig, broker, monkeypatch):
    """A drain would else end while a job waits that the last one put into another queue."""
    monkeypatch.setattr("worker.adapters.rabbitmq.consumer.EMPTY_SECONDS", 60.0)
    await broker.publish(document(), key="cpu.low")
    first = await rig.consumer.next(wait=False)
    await first.settle(Completed())
    await broker.publish(document(), key="cpu.high")
    second = await rig.consumer.next(wait=False)
    assert second is not None
    assert second.queue == queue_of("cpu", "high")
    await second.settle(Completed())
    assert await rig.consumer.next(wait=False) is None


async def test_the_acknowledgement_of_a_short_job_pushes_no_further_one_to_a_consumer_that_leaves(
    broker, repository, provisioned_broker, tmp_path
):
    """What is pushed goes back as a redelivery, which a message without an id is adopted as the twin of another for."""
    rig = Rig(provisioned_broker, repository, tmp_path, lanes=LANES)
    last = routing_key(LANES[-1], PRIORITIES[-1])
    waiting = asyncio.create_task(rig.consumer.next())
    await broker.consumers(len(LANES) * len(PRIORITIES))
    for _ in range(2):
        await broker.publish(document(), key=last)
    async with asyncio.timeout(10):
        first = await waiting
        await first.settle(Completed())
        second = await rig.consumer.next()
    assert not first.redelivered
    assert not second.redelivered
    await second.settle(Completed())
    await rig.close()


async def test_a_wait_that_is_cancelled_twice_loses_no_message(rig, broker):
    for number in range(16):
        job = document()
        await broker.publish(job)
        waiting = asyncio.create_task(rig.consumer.next())
        await asyncio.wait({waiting}, timeout=number * 0.0005)
        waiting.cancel()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        async with asyncio.timeout(5):
            delivery = await rig.consumer.next() if waiting.cancelled() else waiting.result()
        assert json.loads(delivery.body)["job_id"] == job["job_id"]
        await delivery.settle(Completed())


async def test_a_worker_that_waits_again_and_again_leaves_nothing_on_its_channel(rig, broker):
    for _ in range(3):
        waiting = asyncio.create_task(rig.consumer.next())
        await broker.consumers(3)
        waiting.cancel()
        await asyncio.wait({waiting})
        await broker.consumers(0)
    underlay = await (await rig.link.channel()).get_underlay_channel()
    assert len(underlay.on_consumer_cancel_callbacks) == 1


async def test_a_lost_channel_settles_nothing_and_the_redelivery_finds_the_job_completed(rig, broker):
    async def on_run(_context):
        if rig.task.runs == 1:
            await rig.link.reset()

    rig.task.on_run = on_run
    job = document()
    await broker.publish(job)
    await rig.one()
    assert (await rig.repository.job(job["job_id"])).state == "completed"
    assert isinstance((await rig.one()).outcome, Completed)
    assert rig.task.runs == 1
    await broker.settled()


async def test_every_copy_is_persistent_and_keeps_what_the_publisher_said(rig, broker):
    await fail_with(rig, SourceMissing("away"))
    job = document()
    await broker.publish(job, headers={"x-mine": "kept"}, type="encode", correlation_id="c1", app_id="shop")
    await rig.one()
    message = await broker.take(retry_name(DELAYS[0]))
    assert message.delivery_mode == 2
    assert (message.type, message.correlation_id, message.app_id) == ("encode", "c1", "shop")
    assert message.headers["x-mine"] == "kept"
    assert message.headers["x-first-queued-at"]


async def test_two_engines_never_run_one_job_at_the_same_time(rig, broker, repository, provisioned_broker, tmp_path):
    running, most = 0, 0

    async def on_run(_context):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.2)
        running -= 1

    other = Rig(provisioned_broker, repository, tmp_path, worker_id="tester-2")
    rig.task.on_run = other.task.on_run = on_run
    job = document()
    for _ in range(4):
        await broker.publish(job)
    await asyncio.gather(*(one.until(job["job_id"], *TERMINAL) for one in (rig, other)))
    while await broker.waiting(queue_of("cpu", "normal")) or await broker.waiting(defer_name(DEFER_SECONDS)):
        await rig.one()
    assert most == 1
    assert rig.task.runs + other.task.runs == 1
    await other.close()


async def test_the_scratch_of_every_ended_attempt_is_gone(rig, broker):
    await fail_with(rig, SourceMissing("away"), times=1)
    job = document()
    await broker.publish(job)
    await rig.until(job["job_id"], "completed")
    assert list(rig.scratch.root.iterdir()) == []


async def test_a_message_that_no_client_can_decode_ends_in_the_dead_letter_queue_and_the_worker_goes_on(rig, broker):
    def send() -> None:
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            # pamqp makes a date of it, of the year 146,140,482
            properties = pika.BasicProperties(delivery_mode=2, timestamp=2**62, message_id="poison")
            connection.channel().basic_publish(JOBS, "cpu.normal", b"{}", properties)

    await asyncio.to_thread(send)
    job = document()
    await broker.publish(job)
    await rig.until(job["job_id"], "completed", seconds=60)
    await asyncio.to_thread(wait_for_dead, broker.url, 1)


async def test_a_job_that_dies_deletes_no_file_of_another_in_a_folder_that_is_called_like_an_episode(rig, broker):
    episode = f"file://{rig.storage}/s01/e07/"
    first = document(destination=episode)
    await broker.publish(first)
    await rig.until(first["job_id"], "completed")
    second = document(destination=episode)
    await clear(rig.executor._bench.storages, second["job_id"], [f"{episode}out.txt"])
    assert (rig.storage / "s01/e07/out.txt").read_text() == "hello"
    assert _attempt(first).publish_folder != _attempt(second).publish_folder
    assert is_publish_folder(_attempt(first).publish_folder)


def _attempt(job):
    return Attempt(decode(json.dumps(job).encode()), 1, 1, 1, "w", 5.0, datetime.now(UTC))


@pytest.mark.parametrize("forged", ["rejected", [None, 7], [{"reason": 5}], [{"reason": "rejected", "count": 99}]])
async def test_a_death_header_that_no_broker_wrote_holds_no_dead_letter_back(rig, broker, forged):
    await broker.publish(b"no job", message_id="forger", headers={"x-death": forged})
    await rig.one()
    await broker.publish(b"none either", message_id="honest")
    await rig.one()
    letters = [await broker.dead(), await broker.dead()]
    assert {letter.message_id for letter in letters} == {"forger", "honest"}
    copy = next(letter for letter in letters if letter.message_id == "forger")
    assert copy.headers["x-error-type"] == "InvalidJob"
    await broker.settled()
