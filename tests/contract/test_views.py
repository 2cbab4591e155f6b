"""The page's own questions, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.planned import divided, taken
from worker.adapters.sql.views import SqlViews
from worker.core.attempt import Artifact, Failure, Progress, Result
from worker.core.message.dialects import decode
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest
from worker.core.record import Hardware, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def views(url) -> AsyncIterator[SqlViews]:
    found = SqlViews(url)
    yield found
    await found.close()


async def submit(rows, job_id: str, lane: str = "cpu", priority: str = "normal"):
    body = json.dumps({"job_id": job_id, "tasks": [{"module": "probe", "data": {"source": "nas://a"}}]}).encode()
    job, digest = decode(body, job_id), hashlib.sha256(body).hexdigest()
    await rows.submit(job, digest, lane, priority)
    return ClaimRequest(job, digest, "render-1", 30.0, lane, priority)


async def claim(rows, job_id: str):
    return (await rows.claim(await submit(rows, job_id), Policy())).attempt


async def beat(rows, **values) -> None:
    defaults = {"worker_id": "render-1", "hostname": "h", "pid": 1, "version": "1", "status": "idle", "lanes": ["cpu"]}
    await rows.beat(WorkerRecord(**(defaults | values)))


async def test_jobs_wait_by_priority_then_by_age_and_are_counted_by_lane(repository, views):
    for job_id, lane, priority in (
        ("a", "cpu", "low"),
        ("b", "nvenc", "normal"),
        ("c", "cpu", "high"),
        ("d", "cpu", "high"),
    ):
        await submit(repository, job_id, lane, priority)
    attempt = await claim(repository, "e")
    await repository.retry_later(attempt, Failure("it failed", "ToolFailed", "render-1", 1), 100)
    waiting = await views.waiting(10)
    assert [one.job.job_id for one in waiting] == ["c", "d", "b", "e", "a"]
    assert 90 < waiting[3].due_seconds <= 100
    assert [one.job.job_id for one in await views.waiting(2)] == ["c", "d"]
    depths = {(one.lane, one.priority): one.waiting for one in await views.depths()}
    assert depths == {("cpu", "low"): 1, ("nvenc", "normal"): 1, ("cpu", "high"): 2, ("cpu", "normal"): 1}


async def test_parts_that_wait_are_counted_apart_from_jobs(repository, views):
    await submit(repository, "a")
    planned = await divided(repository)
    assert [one.model_dump() for one in await views.depths()] == [
        {"lane": "cpu", "priority": "normal", "waiting": 1, "parts": 3, "divided": 1}
    ]
    await repository.retry_later(await taken(repository, planned[0]), Failure("no", "ToolFailed", "render-1", 1), 100)
    await taken(repository, planned[1])
    assert [(one.waiting, one.parts) for one in await views.depths()] == [(1, 2)]
    assert [one.job.job_id for one in await views.waiting(10)] == ["a"]


async def test_parts_are_found_by_their_ids_and_jobs_are_not(repository, views):
    await claim(repository, "a")
    planned = await divided(repository)
    attempt = await taken(repository, planned[1])
    await repository.report(attempt, Progress(61.0, "ffmpeg", 48.0))
    (found,) = await views.parts(["a", "j1", "j1.p0001", "none"])
    assert (found.job_id, found.state) == ("j1.p0001", "running")
    assert (found.progress.percent, found.progress.fps) == (61.0, 48.0)
    assert await views.parts([]) == []


async def test_changes_differ_only_after_a_change(repository, views):
    await submit(repository, "a")
    before = await views.changes(["a", "none"])
    assert await views.changes(["a", "none"]) == before
    assert before.jobs.keys() == {"a"}
    attempt = await claim(repository, "b")
    after = await views.changes(["a"])
    assert (after.fleet != before.fleet, after.jobs == before.jobs) == (True, True)
    await repository.report(attempt, Progress(10.0, "ffmpeg"))
    assert (await views.changes([])).fleet != after.fleet
    later = await views.changes([])
    await beat(repository, status="idle")
    assert (await views.changes([])).fleet != later.fleet


async def test_results_come_with_their_files_and_say_what_similar_jobs_took(repository, views, tmp_path):
    assert await views.expectation(["probe"]) is None
    for number, seconds in enumerate((10.0, 30.0, 20.0)):
        attempt = await claim(repository, f"job-{number}")
        files = tuple(
            Artifact(role, tmp_path / role, f"nas://{number}/{role}", "video/mp4", bytes=100, sha256="0" * 64)
            for role in ("poster", "file", "segment")
        )
        await repository.complete(attempt, Result(artifacts=files, total_seconds=seconds))
    results = await views.results(2)
    assert [one.job.job_id for one in results] == ["job-2", "job-1"]
    assert [file.role for file in results[0].artifacts] == ["poster", "file"]
    expected = await views.expectation(["probe"])
    assert (expected.jobs, expected.seconds, expected.output_bytes) == (3, 20.0, 300.0)
    assert await views.expectation(["hls"]) is None


async def test_audit_entries_keep_their_order(views):
    for number in range(3):
        await views.note(
            actor="anna", role="operator", client="::1", action="job.cancel", target=f"job-{number}",
            detail={"n": number},
            outcome="done",
        )  # fmt: skip
    newest = await views.audit(2)
    assert [entry.target for entry in newest] == ["job-2", "job-1"]
    assert [entry.target for entry in await views.audit(9, before=newest[-1].number)] == ["job-0"]
    (one,) = await views.audit(9, target="job-1")
    assert (one.actor, one.detail, one.outcome) == ("anna", {"n": 1}, "done")


async def test_each_heartbeat_gives_one_sample(repository, views):
    for percent in (10.0, 20.0):
        await beat(repository, hardware=Hardware(cpu_percent=percent, ram_percent=5, disk_free_bytes=1 << 40, cores=2))
        await views.sample(600)
        await views.sample(600)
    samples = await views.samples("render-1", 10)
    assert [one.cpu_percent for one in samples] == [10.0, 20.0]
    assert samples[0].disk_free_bytes == 1 << 40
    await views.sample(-1)
    assert await views.samples("render-1", 10) == []
