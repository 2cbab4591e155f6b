"""A file that a plan makes for all parts of its job: there for each of them, and missed by none that can do without."""

from __future__ import annotations

import pytest

from tests.support.divided import left
from tests.support.engine import Harness
from tests.support.sharing import COMMON, JOB, SharingTask
from worker.core.errors import DiskFull
from worker.engine.parts.files import remove_ended_parts


@pytest.fixture
async def one(provisioned_broker, broker, repository, tmp_path):
    worker = Harness(provisioned_broker, repository, tmp_path, more_tasks=(SharingTask(),))
    await broker.publish(JOB)
    yield worker
    await worker.close()
    await worker.publisher.close()


async def texts(one: Harness) -> list[str]:
    """Return what the parts say, once the job is completed and nothing is left of them."""
    await one.until("film", "completed")
    record = await one.repository.job("film")
    assert record is not None
    await remove_ended_parts(one.resources)
    assert left(one) == []
    assert len(record.parts) == 4
    return (one.storage / "film" / "out.txt").read_text().split("\n")


async def test_every_part_has_the_file_that_the_plan_shares(one, repository):
    await one.one()
    states = {part.index: part.state for part in (await repository.job("film")).parts}
    assert states == {0: "queued", 1: "queued", 2: "queued", 3: "completed"}
    assert await texts(one) == [COMMON] * 4


async def test_parts_do_without_a_shared_file_that_was_not_published_and_it_is_made_before_the_join(one, monkeypatch):
    stage, refused = one.nas.stage, []

    async def full(artifacts):
        if artifacts[0].uri.endswith(".log") and not refused:
            refused.append(artifacts)
            raise DiskFull("the storage is full")
        await stage(artifacts)

    monkeypatch.setattr(one.nas, "stage", full)
    assert await texts(one) == ["nothing"] * 3 + [f"{COMMON}, again"]
    assert refused


async def test_a_shared_file_that_is_damaged_is_no_file(one):
    await one.one()
    (path,) = (path for path in left(one) if path.suffix == ".log")
    path.write_text(COMMON[::-1])
    assert await texts(one) == ["nothing"] * 3 + [f"{COMMON}, again"]


async def test_a_job_that_is_cancelled_while_its_file_is_shared_leaves_no_file(one, repository, monkeypatch):
    publish = one.resources.storages.publish

    async def late(artifacts, *rest):
        if artifacts[0].uri.endswith(".log"):
            await repository.request_cancel("film")
            await remove_ended_parts(one.resources)
        await publish(artifacts, *rest)

    monkeypatch.setattr(type(one.resources.storages), "publish", lambda _, *rest: late(*rest))
    await one.one()
    assert (await repository.job("film")).state == "cancelled"
    assert [path for path in left(one) if path.is_file()] == []
