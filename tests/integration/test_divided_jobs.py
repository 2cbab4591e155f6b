"""Jobs in parts over a real broker and a real database: several workers, one film, and what goes wrong between."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256

import pytest

from tests.support.divided import FRAMES, PARTS, Killed, left, result, submitted, together, two_workers
from tests.support.engine import document
from tests.support.media import clip
from tests.support.parts import packets
from worker.core.errors import BadInput
from worker.core.message.dialects import decode
from worker.engine.parts.copies import copy_slow_parts
from worker.engine.parts.files import remove_ended_parts
from worker.engine.parts.outbox import publish_outbox


@pytest.fixture
async def workers(provisioned_broker, broker, repository, tmp_path):
    """Two workers over one storage."""
    del broker
    async with two_workers(provisioned_broker, repository, tmp_path) as found:
        yield found


async def test_two_workers_make_one_film(workers, broker, repository):
    one, two = workers
    await broker.publish(submitted(one))
    await together(workers, "film", "completed", "dead")
    record = await repository.job("film")
    assert record.state == "completed", record.error
    assert len(packets(result(one))) == FRAMES
    assert [part.state for part in record.parts] == ["completed"] * PARTS
    assert {part.worker for part in record.parts} == {one.worker_id, two.worker_id}
    assert [attempt.outcome for attempt in record.attempts] == ["divided", "completed"]
    assert record.facts["parts"] == {"frames": FRAMES, "ranges": 3, "others": 1}
    assert left(one) == []
    assert len(record.artifacts) == 1


async def test_one_worker_alone_finishes_what_it_divided(workers, broker, repository):
    one, _ = workers
    await broker.publish(submitted(one))
    await together([one], "film", "completed", "dead")
    assert (await repository.job("film")).state == "completed"
    assert len(packets(result(one))) == FRAMES


async def test_a_cancel_while_parts_are_made_ends_all_of_them(workers, broker, repository):
    one, _ = workers
    await broker.publish(submitted(one))
    await one.one()
    await one.one()  # the sound
    assert (await repository.job("film")).state == "waiting"
    assert await repository.request_cancel("film.p0001") == "cancelled"
    record = await repository.job("film")
    assert record.state == "cancelled"
    assert [part.state for part in record.parts] == ["cancelled"] * 3 + ["completed"]
    for _ in range(3):
        await one.one()
    await remove_ended_parts(one.resources)
    assert left(one) == []
    assert await one.consumer.next(wait=False) is None


async def test_a_dead_part_ends_its_job_and_a_retry_makes_only_what_is_missing(workers, broker, repository, cli_retry):
    one, two = workers
    fail = [True]

    async def deny(step):
        if step == "resolved" and fail and one.executor.job and one.executor.job.job_id == "film.p0002":
            raise BadInput("the source cannot be read here")

    one.on_step = deny
    await broker.publish(submitted(one))
    await together([one], "film", "dead", "completed")
    record = await repository.job("film")
    assert record.state == "dead"
    assert record.error == "part 3 of 4: the source cannot be read here"
    await one.one()  # its own message dies like any other
    fail.clear()
    made = {part.index for part in record.parts if part.state == "completed"}
    assert made
    stood = {path: path.stat().st_mtime_ns for path in left(one) if path.is_file()}
    assert len(stood) == len(made)
    reopened = await cli_retry(repository, "film")
    await broker.publish(reopened, message_id="film")
    await together([one, two], "film", "completed", "dead")
    record = await repository.job("film")
    assert record.state == "completed", record.error
    assert len(packets(result(one))) == FRAMES
    assert left(one) == []


@pytest.fixture
def cli_retry():
    async def retry(repository, job_id):
        return (await repository.reopen(job_id)).document

    return retry


async def test_a_part_that_is_lost_or_corrupt_before_the_join_is_made_again(workers, broker, repository):
    one, _ = workers
    await broker.publish(submitted(one))
    for _ in range(1 + PARTS):
        await one.one()
    assert (await repository.job("film")).state == "queued"
    files = sorted(path for path in left(one) if path.suffix == ".mp4")
    files[0].unlink()
    content = bytearray(files[1].read_bytes())
    content[len(content) // 2] ^= 0xFF
    files[1].write_bytes(content)
    await together([one], "film", "completed", "dead", seconds=90)
    record = await repository.job("film")
    assert record.state == "completed", record.error
    assert len(packets(result(one))) == FRAMES
    assert left(one) == []


async def test_a_source_that_changes_between_plan_and_parts_is_planned_anew(workers, broker, repository):
    one, _ = workers
    await broker.publish(submitted(one))
    await one.one()
    await one.one()
    clip(one.storage / "source.mkv", picture="s=160x90:r=25", seconds=8, extra=("-g", "24"))
    await together([one], "film", "completed", "dead", seconds=90)
    record = await repository.job("film")
    assert record.state == "completed", record.error
    assert record.facts["parts"]["frames"] == 200
    assert len(packets(result(one))) == 200
    assert left(one) == []


async def test_a_message_of_a_part_that_no_plan_has_is_refused(workers, broker, repository):
    one, _ = workers
    forged = submitted(one, job_id="film.p0000") | {"part": {"job": "film", "index": 0, "key": "0123456789abcdef"}}
    await broker.publish(forged)
    await one.one()
    assert await repository.job("film.p0000") is None
    (refusal,) = await repository.refusals()
    assert "only workers write the parts of a job" in refusal.error


async def test_a_part_that_one_worker_makes_far_too_slowly_is_made_by_the_other_and_the_first_is_stopped(
    workers, broker, repository
):
    slow, fast = workers
    stuck, over = asyncio.Event(), asyncio.Event()

    async def hang(step):
        if step == "resolved" and slow.executor.job.job_id == "film.p0002":
            stuck.set()
            await over.wait()

    slow.on_step = hang
    await broker.publish(submitted(slow))
    for _ in range(1 + PARTS - 1):  # the plan, the sound, and two of the three ranges
        await slow.one()
    hanging = asyncio.ensure_future(slow.one(60))
    await asyncio.wait_for(stuck.wait(), 30)
    async with asyncio.timeout(60):
        while await copy_slow_parts(fast.resources, fast.worker_id, fast.lanes, 0.0) is None:
            await asyncio.sleep(0.05)
    await together([fast], "film", "completed", "dead")
    record = await repository.job("film")
    assert record.state == "completed", record.error
    assert record.parts[2].worker == fast.worker_id
    assert len(record.parts) == PARTS
    settlement = await asyncio.wait_for(hanging, 30)
    assert type(settlement.outcome).__name__ == "Cancelled"
    assert len(packets(result(slow))) == FRAMES
    await remove_ended_parts(slow.resources)
    assert left(slow) == []
    assert await repository.outbox(0.0, 10) == []


@pytest.mark.parametrize("step", ["planned", "divided", "verified", "announced", "published", "recorded", "settling"])
async def test_a_worker_that_stops_at_any_step_leaves_the_film_to_the_other(workers, broker, repository, step):
    """The first worker's delivery is dropped at a step of the plan, a part or the join, as if it had been killed."""
    one, two = workers
    one.lease_seconds = two.lease_seconds = 1.0
    stopped = []

    async def stop(name):
        if name == step and len(stopped) < 3:
            stopped.append(name)
            raise Killed(name)

    one.on_step = stop
    await broker.publish(submitted(one))

    async def until_killed(worker):
        while True:
            record = await repository.job("film")
            if record is not None and record.state in {"completed", "dead"}:
                return
            delivery = await worker.consumer.next(wait=False)
            if delivery is None:
                await publish_outbox(worker.resources)
                await asyncio.sleep(0.05)
                continue
            try:
                await worker.executor.execute(delivery)
            except Killed:
                await delivery.give_back()

    await asyncio.wait_for(asyncio.gather(until_killed(one), until_killed(two)), 120)
    record = await repository.job("film")
    assert record.state == "completed", record.error
    assert len(packets(result(one))) == FRAMES
    await remove_ended_parts(one.resources)
    assert left(one) == []


async def test_a_job_whose_submitter_was_killed_before_it_published_is_published_by_a_worker(workers, repository):
    one, _ = workers
    body = json.dumps(document(job_id="left")).encode()
    job = decode(body, "left")
    await repository.submit(job, sha256(body).hexdigest(), "cpu", "normal", body)
    assert await publish_outbox(one.resources) == 1
    await one.until("left", "completed")
    assert await repository.outbox(0.0, 10) == []


async def test_a_film_that_is_not_divided_is_looked_at_once_for_plan_and_encode(workers, broker, repository):
    await broker.publish(submitted(workers[0], parts="auto"))
    await together(workers, "film", "completed", "dead")
    record, found = await repository.job("film"), await repository.log("film")
    assert (record.state, record.parts) == ("completed", [])
    assert found.text.count("-read_intervals") == 1, found.text
