"""Bad days of a film in parts: cancel at each step, a join that dies again and again, a storage that is full."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from tests.support.divided import Killed, left
from tests.support.engine import Harness
from tests.support.sharing import COMMON, JOB, SharingTask
from worker.adapters.sql.schema import jobs, moment
from worker.core.errors import BadInput, DiskFull, PlanBroken, VerificationFailed
from worker.engine.parts.files import remove_ended_parts
from worker.engine.parts.outbox import publish_outbox
from worker.engine.parts.work import MAX_DIVISIONS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def one(provisioned_broker, broker, repository, tmp_path):
    worker = Harness(provisioned_broker, repository, tmp_path, more_tasks=(SharingTask(),))
    await broker.publish(JOB)
    yield worker
    await worker.close()
    await worker.publisher.close()


async def expire_leases(repository):
    """Let the time pass after which another worker may take what a killed one had."""

    def expire(connection):
        connection.execute(update(jobs).where(jobs.c.lease_until.is_not(None)).values(lease_until=moment(-1)))

    await repository._database.write(expire)


def result(one: Harness) -> Path:
    return one.storage / "film" / "out.txt"


async def until_over(one, repository):
    """Take what comes until the job has ended; a delivery whose worker is killed is given back."""
    async with asyncio.timeout(60):
        while (record := await repository.job("film")) is None or record.state not in {
            "completed",
            "dead",
            "cancelled",
        }:
            delivery = await one.consumer.next(wait=False)
            if delivery is None:
                await publish_outbox(one.resources)
                await asyncio.sleep(0.02)
                continue
            try:
                await one.executor.execute(delivery)
            except Killed:
                await expire_leases(repository)
                await delivery.give_back()


async def ended(one, repository):
    """Return the record of the job once it has ended and a worker has cleaned up."""
    await until_over(one, repository)
    while delivery := await one.consumer.next(wait=False):
        await one.executor.execute(delivery)
    await remove_ended_parts(one.resources)
    assert left(one) == []
    assert await repository.outbox(0.0, 10) == []
    return await repository.job("film")


@pytest.mark.parametrize(
    ("job_id", "step"),
    [
        ("film", "resolved"),
        ("film", "planned"),
        ("film", "divided"),
        ("film.p0001", "resolved"),
        ("film.p0001", "verified"),
        ("film.p0001", "published"),
        ("film join", "ran"),
        ("film join", "verified"),
    ],
)
async def test_a_cancel_at_any_step_leaves_nothing(one, repository, job_id, step):
    name, _, join = job_id.partition(" ")
    asked = []

    async def cancel(at):
        job = one.executor.job
        if asked or job is None or (job.job_id, at) != (name, step):
            return
        if join and (await repository.job("film")).parts == []:
            return
        asked.append(await repository.request_cancel("film"))

    one.on_step = cancel
    record = await ended(one, repository)
    assert asked
    assert record.state == "cancelled", record.error
    assert {part.state for part in record.parts} <= {"cancelled", "completed"}
    assert not result(one).exists()


async def test_a_join_that_dies_three_times_is_made_at_last(one, repository):
    died = []

    async def die(step):
        if step == "verified" and one.executor.job.job_id == "film" and len(died) < 3:
            died.append(step)
            raise Killed(step)

    one.on_step = die
    record = await ended(one, repository)
    assert len(died) == 3
    assert record.state == "completed", record.error
    assert result(one).read_text() == "\n".join([COMMON] * 4)
    assert all(part.state == "completed" for part in record.parts)


async def test_a_storage_that_is_full_for_a_while_costs_no_part(one, repository, monkeypatch):
    stage, refused = one.nas.stage, []

    async def full(artifacts):
        if any(file.role == "part" for file in artifacts) and len(refused) < 3:
            refused.append(artifacts)
            raise DiskFull("the storage is full")
        await stage(artifacts)

    monkeypatch.setattr(one.nas, "stage", full)
    record = await ended(one, repository)
    assert len(refused) == 3
    assert record.state == "completed", record.error
    assert result(one).exists()


async def test_a_part_that_always_fails_ends_the_film_once_and_names_itself(one, repository):
    async def deny(step):
        if step == "resolved" and one.executor.job and one.executor.job.job_id.startswith("film.p0001"):
            raise BadInput("the source cannot be read here")

    one.on_step = deny
    await until_over(one, repository)
    record = await repository.job("film")
    assert (record.state, record.error) == ("dead", "part 2 of 4: the source cannot be read here")
    assert [part.state for part in record.parts if part.index != 1] == ["completed", "cancelled", "completed"]
    while delivery := await one.consumer.next(wait=False):
        await one.executor.execute(delivery)
    await remove_ended_parts(one.resources)
    assert len([path for path in left(one) if path.is_file()]) == 2, "what is made stays for a retry"
    assert not result(one).exists()


@pytest.mark.parametrize("kind", [VerificationFailed, PlanBroken])
async def test_parts_that_are_no_film_together_are_left_for_a_whole_run_at_once(one, repository, monkeypatch, kind):
    async def differ(*_):
        raise kind("part 2 differs from part 0 in width")

    monkeypatch.setattr(SharingTask, "join", differ)
    record = await ended(one, repository)
    assert record.state == "completed", record.error
    assert result(one).read_text() == "whole"
    assert record.facts["parts"] == {"whole": "its parts do not join: part 2 differs from part 0 in width"}
    assert [attempt.outcome for attempt in record.attempts] == ["divided", "completed"]


async def test_a_source_that_is_another_one_at_every_look_is_made_whole_at_last(one, repository, monkeypatch):
    """A server of several machines may give one file another tag each time."""

    async def changed(*_):
        return False

    async def refuse(*_):
        raise PlanBroken("the sources are not those that were planned")

    monkeypatch.setattr(SharingTask, "holds", changed)
    monkeypatch.setattr(SharingTask, "run_part", refuse)
    record = await ended(one, repository)
    assert record.state == "completed", record.error
    assert result(one).read_text() == "whole"
    assert record.facts["parts"]["whole"].startswith(f"it was divided {MAX_DIVISIONS} times")
    assert [attempt.outcome for attempt in record.attempts] == ["divided"] * MAX_DIVISIONS + ["completed"]


async def test_parts_that_somebody_spoils_before_every_join_are_made_whole_at_last(one, repository):
    async def spoil(step):
        if step == "claimed" and one.executor.job.job_id == "film":
            for path in left(one):
                if path.suffix == ".txt":
                    path.write_bytes(b"x" * path.stat().st_size)

    one.on_step = spoil
    record = await ended(one, repository)
    assert record.state == "completed", record.error
    assert result(one).read_text() == "whole"


async def test_a_message_that_poses_as_a_part_deletes_nothing_of_it_while_it_is_made(
    one, repository, provisioned_broker, broker, tmp_path
):
    other = Harness(provisioned_broker, repository, tmp_path, "tester-2", more_tasks=(SharingTask(),))
    forged = JOB | {"job_id": "film.p0001", "part": {"job": "film", "index": 1, "key": "0" * 32}}
    states = []

    async def pose(step):
        job = one.executor.job
        if step == "revealing" and job and job.job_id == "film.p0001" and not states:
            before = left(one)
            await broker.publish(forged, message_id="film.p0001")
            # Parts that the fleet itself has queued are before it.
            held = []
            while (delivery := await other.consumer.next()) and delivery.body != json.dumps(forged).encode():
                held.append(delivery)
            await other.executor.execute(delivery)
            for other_delivery in held:
                await other_delivery.give_back()
            states.append(left(one) == before)

    one.on_step = pose
    try:
        record = await ended(one, repository)
    finally:
        await other.close()
        await other.publisher.close()
    assert states == [True]
    assert record.state == "completed", record.error
    assert [attempt.outcome for attempt in record.attempts] == ["divided", "completed"]
