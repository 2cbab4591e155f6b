"""Two jobs that make one file, over the whole engine: one completes, the other says why it cannot."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.support.engine import Harness, document
from worker.core.attempt import Completed, Dead, Requeue
from worker.core.errors import ShuttingDown

pytestmark = pytest.mark.xdist_group("rabbitmq")


def making(harness: Harness, text: str) -> dict:
    task = {"module": "write", "data": {"text": text}}
    return document(destination=f"file://{harness.storage}/shared/", tasks=[task])


async def test_of_two_jobs_that_run_at_once_and_make_one_file_one_completes(
    harness, broker, repository, provisioned_broker, tmp_path
):
    other = Harness(provisioned_broker, repository, tmp_path, worker_id="tester-2")
    both = asyncio.Barrier(2)

    async def meet(_context):
        await both.wait()

    harness.task.on_run = other.task.on_run = meet
    jobs = [making(harness, "one"), making(harness, "two")]
    for job in jobs:
        await broker.publish(job)
    settlements = await asyncio.gather(harness.one(30), other.one(30))
    assert {type(one.outcome) for one in settlements} == {Completed, Dead}
    records = [await repository.job(job["job_id"]) for job in jobs]
    (winner,) = [one for one in records if one.state == "completed"]
    (loser,) = [one for one in records if one.state == "dead"]
    assert loser.error_type == "OutputExists"
    content = (harness.storage / "shared/out.txt").read_bytes()
    assert winner.artifacts[0].sha256 == hashlib.sha256(content).hexdigest()
    await other.close()


async def test_a_retry_replaces_what_its_own_attempt_showed(harness, broker):
    """The first attempt is ended after it showed its file; an encoder never writes the same bytes twice."""

    async def write(params, context):
        harness.task.runs += 1
        context.output(params.name).write_text(f"run {harness.task.runs}")

    async def end(step):
        if step == "published":
            harness.on_step = None
            harness.executor.interrupt(ShuttingDown("the grace is over"))
            await asyncio.sleep(0)

    harness.task.run, harness.on_step = write, end
    job = making(harness, "")
    await broker.publish(job)
    assert isinstance((await harness.one(30)).outcome, Requeue)
    out = harness.storage / "shared/out.txt"
    assert out.read_text() == "run 1"
    harness.executor._persistence.interrupted = None
    await harness.until(job["job_id"], "completed", seconds=30)
    assert out.read_text() == "run 2"


async def test_a_file_that_came_to_an_outputs_place_while_the_job_ran_stays(harness, broker):
    out = harness.storage / "shared/out.txt"

    async def meanwhile(_context):
        out.parent.mkdir(exist_ok=True)
        out.write_text("somebody's")

    harness.task.on_run = meanwhile
    job = making(harness, "one")
    await broker.publish(job)
    assert isinstance((await harness.one(30)).outcome, Dead)
    record = await harness.repository.job(job["job_id"])
    assert record.error_type == "OutputExists"
    assert '"overwrite": true' in record.error
    assert out.read_text() == "somebody's"
