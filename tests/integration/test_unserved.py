"""Jobs that a worker cannot do: forwarded, declined, and in the end dead with the reason; the real broker."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

import pytest
from sqlalchemy import update

from tests.support.engine import DEFER_SECONDS, Harness, WriteParams, WriteTask, document
from worker.adapters.sql.schema import jobs
from worker.core.attempt import Cancelled, Completed, Dead, Defer, Forward, Surplus
from worker.core.errors import CannotServe
from worker.core.message.dialects import decode
from worker.core.record import OptionSet, WorkerRecord
from worker.core.routing import HEADER_REFUSED_BY, defer_name
from worker.engine.attempt.run import LocalProduction
from worker.engine.eligibility import MAX_PAUSE
from worker.engine.executor import Executor
from worker.media.capabilities import Capabilities
from worker.registry import Registry
from worker.tasks.ffmpeg import FfmpegTask

if TYPE_CHECKING:
    from worker.adapters.sql import SqlRepository
    from worker.core.task import Lookup

pytestmark = pytest.mark.xdist_group("rabbitmq")

X264_ONLY = Capabilities(proved=True, encoders={"libx264": True}, tools={"ffmpeg": True})


class ShineTask(WriteTask):
    """Requires what `text` names, and with `name` set to `late.txt` an encoder that only an option set tells."""

    module: ClassVar[str] = "shine"

    def requires(self, params: WriteParams) -> frozenset[str]:
        return frozenset({params.text} if ":" in params.text else ())

    async def prepare(self, params: WriteParams, lookup: Lookup) -> WriteParams:
        if params.name != "late.txt":
            return params
        stored = await lookup.option_set("shine", "late")
        codec = stored["codec"]
        return params.model_copy(update={"text": f"encoder:{codec if '99' in codec else lookup.encoder(codec)}"})


def a_harness(url, repository, folder, worker_id: str, capabilities: Capabilities, unserved: float) -> Harness:
    harness = Harness(url, repository, folder, worker_id=worker_id)
    registry = Registry({"write": harness.task, "shine": ShineTask(), "ffmpeg": FfmpegTask()})
    harness.resources = replace(harness.resources, capabilities=capabilities, registry=registry)
    harness.executor = Executor(
        harness.resources,
        harness.policy,
        LocalProduction(harness.resources),
        worker_id=worker_id,
        lanes=harness.lanes,
        lease_seconds=harness.lease_seconds,
        unserved_seconds=unserved,
    )
    return harness


@pytest.fixture
async def harness(provisioned_broker, broker, repository, tmp_path):
    harness = a_harness(provisioned_broker, repository, tmp_path, "tester-1", X264_ONLY, 0.5)
    await beat(repository, "tester-1")
    yield harness
    await harness.close()


async def beat(repository: SqlRepository, worker_id: str, status: str = "idle", lane: str = "cpu") -> None:
    await repository.beat(
        WorkerRecord(worker_id=worker_id, hostname="h", pid=1, version="1", status=status, lanes=[lane])  # type: ignore[arg-type]
    )


def shining(text: str = "encoder:libx999", **data: str) -> dict[str, object]:
    return document(tasks=[{"module": "shine", "data": {"text": text} | data}])


async def test_the_longer_nobody_can_do_a_job_the_longer_it_waits_until_the_next_look(harness, broker):
    job = shining()
    await beat(harness.repository, "another-1")
    pauses = []
    for waited in (0, 20, 3600):
        since = datetime.now(UTC) - timedelta(seconds=waited)
        here = update(jobs).where(jobs.c.job_id == job["job_id"]).values(unserved_since=since, standby=None)
        await harness.repository._database.write(lambda connection, here=here: connection.execute(here))
        await broker.publish(job)
        outcome = (await harness.one()).outcome
        assert isinstance(outcome, Defer)
        pauses.append(outcome.seconds)
    assert (pauses[0] < 10, 20 <= pauses[1] < 40, pauses[2]) == (True, True, MAX_PAUSE)


async def test_a_job_that_needs_another_lane_goes_there_uncharged(harness, broker):
    job = shining("encoder:h264_nvenc")
    await broker.publish(job)
    settlement = await harness.one()
    assert settlement.outcome == Forward(job["job_id"], "nvenc", "normal")
    message = await broker.take("media.nvenc.normal")
    assert message.message_id == job["job_id"]
    assert await harness.repository.job(job["job_id"]) is None


async def test_a_job_of_our_own_lane_that_we_cannot_do_waits_for_another_worker(harness, broker):
    await beat(harness.repository, "tester-2")
    job = shining()
    await broker.publish(job)
    settlement = await harness.one()
    assert settlement.outcome == Defer(
        "tester-1 cannot do it: encoder:libx999 (not in this ffmpeg)", refused_by="tester-1"
    )
    record = await harness.repository.job(job["job_id"])
    assert (record.state, record.attempts) == ("queued", [])
    message = await broker.take(defer_name(DEFER_SECONDS))
    assert message.headers[HEADER_REFUSED_BY] == "tester-1"


async def test_a_message_with_the_id_of_another_job_takes_no_place_of_its_copy_that_waits(harness, broker):
    await beat(harness.repository, "tester-2")
    job = shining()
    body = json.dumps(job).encode()
    await harness.repository.submit(decode(body), sha256(body).hexdigest(), "cpu", "normal")
    await broker.publish(job | {"job_title": "forged"})
    assert isinstance((await harness.one()).outcome, Dead)
    assert (await broker.dead()).headers["x-error-type"] == "IdReused"
    assert (await harness.repository.job(job["job_id"])).state == "queued"
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Defer), "it is the only one, and waits for another worker"


async def test_a_worker_that_can_do_it_takes_what_another_one_declined(harness, broker, provisioned_broker, tmp_path):
    able = X264_ONLY.model_copy(update={"encoders": {"libx264": True, "libx999": True}})
    other = a_harness(provisioned_broker, harness.repository, tmp_path, "tester-2", able, 0.5)
    job = shining()
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Defer)
    assert isinstance((await other.one()).outcome, Completed)
    await other.close()
    record = await harness.repository.job(job["job_id"])
    assert [attempt.worker for attempt in record.attempts] == ["tester-2"]
    await broker.settled()


async def test_a_job_that_every_living_worker_refuses_for_too_long_is_dead_and_says_why(harness, broker):
    await beat(harness.repository, "gone", "offline")
    await beat(harness.repository, "elsewhere", lane="visualize")
    job = shining()
    await broker.publish(job)
    await harness.until(job["job_id"], "dead")
    record = await harness.repository.job(job["job_id"])
    assert record.error_type == "Unserved"
    assert record.error.startswith("the only living worker of lane cpu refused it for ")
    assert record.error.endswith("on tester-1: encoder:libx999 (not in this ffmpeg)")
    assert record.attempts == []
    assert (await broker.dead()).message_id == job["job_id"]
    await broker.settled()


async def test_a_living_worker_that_has_not_been_asked_keeps_the_job_alive(harness, broker):
    await beat(harness.repository, "tester-2", "in_progress")
    job = shining()
    await broker.publish(job)
    for _ in range(4):
        assert isinstance((await harness.one()).outcome, Defer)
    await beat(harness.repository, "tester-2", "draining")
    assert isinstance((await harness.one()).outcome, Dead)


async def test_a_cancelled_job_that_nobody_can_do_is_settled(harness, broker):
    await beat(harness.repository, "tester-2")
    job = shining()
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Defer)
    assert await harness.repository.request_cancel(job["job_id"]) == "cancelled"
    assert isinstance((await harness.one()).outcome, Cancelled)
    await broker.settled()


@pytest.mark.parametrize(("codec", "reason"), [("hevc", "no encoder of hevc works"), ("libx999", "not in this ffmpeg")])
async def test_a_requirement_of_an_option_set_is_declined_after_one_attempt_that_is_not_charged(
    harness, broker, codec, reason
):
    await harness.repository.put_option_set(OptionSet(module="shine", name="late", options={"codec": codec}))
    job = shining("", name="late.txt")
    await broker.publish(job)
    first = await harness.one()
    assert isinstance(first.outcome, Defer)
    assert first.outcome.refused_by == "tester-1"
    assert not isinstance(first.error, CannotServe)  # the host is well: its worker does not rest
    await harness.until(job["job_id"], "dead")
    record = await harness.repository.job(job["job_id"])
    assert record.error_type == "Unserved"
    assert f"encoder:{codec} ({reason})" in record.error
    assert [(attempt.outcome, attempt.number) for attempt in record.attempts] == [("deferred", 1)]


async def test_a_mended_option_set_lets_a_declined_job_run(harness, broker):
    await beat(harness.repository, "tester-2")
    await harness.repository.put_option_set(OptionSet(module="shine", name="late", options={"codec": "hevc"}))
    job = shining("", name="late.txt")
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Defer)
    await harness.repository.put_option_set(OptionSet(module="shine", name="late", options={"codec": "h264"}))
    await harness.until(job["job_id"], "completed")
    assert (harness.storage / job["job_id"] / "late.txt").read_text() == "encoder:libx264"


async def test_of_many_copies_that_this_worker_cannot_do_one_goes_to_the_others(harness, broker):
    job = document(lane="cpu", tasks=[{"module": "shine", "data": {"text": "encoder:none"}}])
    await beat(harness.repository, "tester-2")
    for _ in range(5):
        await broker.publish(job)
    outcomes = [(await harness.one()).outcome for _ in range(5)]
    assert [type(one) for one in outcomes] == [Defer, *[Surplus] * 4]
    assert isinstance((await harness.one()).outcome, Defer)
