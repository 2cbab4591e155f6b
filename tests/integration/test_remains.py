"""Whoever ends a job removes what attempts of it left: hidden files, own folders, whatever killed the worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import ClassVar

import pytest

from tests.support.engine import DELAYS, Harness, WriteParams, document
from worker import Files, FileUse, Task, TaskContext
from worker.core.errors import BadInput
from worker.core.message.dialects import decode
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest, Granted

pytestmark = pytest.mark.xdist_group("rabbitmq")


class ManyTask(Task[WriteParams]):
    """Writes a segment into the attempt's own folder, and a manifest."""

    module: ClassVar[str] = "many"
    params = WriteParams

    def files(self, params: WriteParams) -> Files:
        return Files(writes=(FileUse("name", params.name),))

    async def run(self, params: WriteParams, context: TaskContext) -> None:
        segment = context.output(f"{context.attempt_folder}/segment.bin", role="segment", immutable=True)
        segment.write_text("segment")
        context.output(params.name, role="manifest").write_text("manifest")
        if params.text == "bad":
            raise BadInput("it is not what it claims to be")


@pytest.fixture
async def harness(provisioned_broker, broker, repository, tmp_path):
    harness = Harness(provisioned_broker, repository, tmp_path, more_tasks=(ManyTask(),))
    yield harness
    await harness.close()


def many(**data: object) -> dict:
    return document(tasks=[{"module": "many", "data": {"name": "main.bin"} | data}])


async def killed_in_publish(harness: Harness, job: dict, *, shown: bool = False) -> None:
    """Leave what a worker leaves that was killed after it staged (and `shown`: revealed) its files."""
    body = json.dumps(job).encode()
    request = ClaimRequest(
        decode(body, None), hashlib.sha256(body).hexdigest(), "gone-1", lease_seconds=0.1, lane="cpu", priority="normal"
    )
    claim = await harness.repository.claim(request, Policy(DELAYS))
    assert isinstance(claim, Granted)
    folder = harness.storage / job["job_id"]
    own = f"file://{folder}/{claim.attempt.publish_folder}/segment.bin"
    await harness.repository.announce(claim.attempt, [own, f"file://{folder}/main.bin"])
    mark = hashlib.sha256(job["job_id"].encode()).hexdigest()[:12]
    (folder / claim.attempt.publish_folder).mkdir(parents=True)
    (folder / claim.attempt.publish_folder / "segment.bin").write_text("segment")
    (folder / claim.attempt.publish_folder / f".leveret-{mark}-half-segment.bin").write_text("seg")
    (folder / ("main.bin" if shown else f".leveret-{mark}-half-main.bin")).write_text("manifest")
    await asyncio.sleep(0.15)


def files_there(harness: Harness, job: dict) -> set[str]:
    """Return what stands; the job's part of an attempt's folder (`e1-<job>`) is left out."""
    folder, own = harness.storage / job["job_id"], hashlib.sha256(job["job_id"].encode()).hexdigest()[:12]
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name.replace(f"-{own}/", "/") for name in found}


async def test_a_completed_job_shows_its_last_attempt_alone(harness, broker):
    job = many()
    await killed_in_publish(harness, job)
    await broker.publish(job)
    await harness.until(job["job_id"], "completed")
    assert files_there(harness, job) == {"e2/segment.bin", "main.bin"}


async def test_a_worker_killed_between_the_record_and_the_cleaning_leaves_it_to_the_redelivery(harness, broker):
    job = many()
    await killed_in_publish(harness, job)
    await broker.publish(job)
    await harness.until(job["job_id"], "completed")
    folder = harness.storage / job["job_id"] / f"e1-{hashlib.sha256(job['job_id'].encode()).hexdigest()[:12]}"
    folder.mkdir()
    (folder / "segment.bin").write_text("segment")
    await broker.publish(job)
    await harness.one()
    assert files_there(harness, job) == {"e2/segment.bin", "main.bin"}


async def test_a_job_that_crashed_too_often_leaves_nothing_that_nobody_can_see(harness, broker):
    job = many()
    for _ in range(3):
        await killed_in_publish(harness, job)
    await broker.publish(job)
    await harness.until(job["job_id"], "dead")
    assert files_there(harness, job) == set()


async def test_a_job_that_fails_at_last_leaves_nothing_of_the_attempts_before(harness, broker):
    job = many(text="bad")
    await killed_in_publish(harness, job)
    await broker.publish(job)
    await harness.until(job["job_id"], "dead")
    assert files_there(harness, job) == set()


async def test_files_that_a_visible_manifest_names_stay_when_the_job_dies(harness, broker):
    job = many(text="bad")
    await killed_in_publish(harness, job, shown=True)
    await broker.publish(job)
    await harness.until(job["job_id"], "dead")
    assert files_there(harness, job) == {"e1/segment.bin", "main.bin"}
