"""Lists of jobs by filter and cursor, ids by their beginning, and what operators change of one job."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.repositories import FAILURE, POLICY, granted, job, request
from worker.adapters.sql.jobs import listing
from worker.adapters.sql.schema import moment
from worker.core.attempt import Result
from worker.core.job import TaskSpec
from worker.core.listing import InvalidCursor, JobFilter
from worker.core.ports import Waiting


async def listed(repository, **filters):
    return [record.job_id for record in (await repository.page(JobFilter(**filters))).jobs]


async def test_jobs_come_newest_first_by_state_and_without_details(bench):
    repository = bench.repository
    for age, name in ((3, "a"), (2, "b"), (1, "c")):
        await repository.submit(job(name), "d" * 64, "cpu", "normal")
        await bench.set(name, created_at=moment(-age))
    await repository.bury(await granted(repository, a_job=job("b")), FAILURE)
    assert await listed(repository) == ["c", "b", "a"]
    assert [record.job_id for record in (await repository.page(JobFilter(), 1)).jobs] == ["c"]
    assert await listed(repository, state="dead") == ["b"]
    assert await listed(repository, state="running") == []
    (dead,) = (await repository.page(JobFilter("dead"))).jobs
    assert (dead.error_type, dead.attempts, dead.artifacts, dead.document) == ("ToolFailed", [], [], {})
    (whole,) = await repository.with_details([dead])
    assert [attempt.outcome for attempt in whole.attempts] == ["failed"]
    assert await repository.counts() == {"queued": 2, "dead": 1}
    assert await repository.waiting_by_lane() == {"cpu": 2}
    await repository.complete(await granted(repository, a_job=job("a")), Result(()))
    assert await repository.counts() == {"queued": 1, "dead": 1, "completed": 1}


async def test_jobs_are_filtered_by_lane_worker_module_text_and_age(bench):
    repository = bench.repository
    await repository.submit(job("a"), "d" * 64, "cpu", "normal")
    other = replace(job("b"), title="Der STRASSENFILM 100%", tasks=(TaskSpec("gource", {}, "tasks[0].data"),))
    await repository.submit(other, "d" * 64, "nvenc", "normal")
    await repository.release(await granted(repository, a_job=other, worker="w7", lane="nvenc"), "interrupted", "x")
    await bench.set("a", created_at=moment(-100))
    assert await listed(repository, lane="nvenc") == ["b"]
    assert await listed(repository, worker="w7") == ["b"]
    assert await listed(repository, worker="w8") == []
    assert await listed(repository, module="gource") == ["b"]
    assert await listed(repository, module="gourc") == []
    assert await listed(repository, text="straßen") == ["b"]
    assert await listed(repository, text="100%") == ["b"]
    assert await listed(repository, text="%") == ["b"]
    assert await listed(repository, text="film") == ["b", "a"]
    assert await listed(repository, state="queued", text="film", module="ffmpeg") == ["a"]
    assert await listed(repository, since=timedelta(seconds=50)) == ["b"]
    assert await listed(repository, since=timedelta(seconds=200)) == ["b", "a"]
    assert await listed(repository, until=timedelta(seconds=50)) == ["a"]
    assert await listed(repository, until=datetime.now(UTC) - timedelta(seconds=50)) == ["a"]
    assert await listed(repository, lane="cpu", since=timedelta(seconds=50)) == []


async def test_a_filter_by_a_worker_with_many_attempts_finds_the_same_jobs(bench, monkeypatch):
    for name in ("a", "b", "c"):
        await granted(bench.repository, a_job=job(name), worker="w7" if name != "b" else "w8")
    few = await listed(bench.repository, worker="w7")
    monkeypatch.setattr(listing, "_MANY_ATTEMPTS", 1)
    assert sorted(await listed(bench.repository, worker="w7")) == sorted(few) == ["a", "c"]


async def test_pages_by_cursor_hold_every_job_once_also_of_one_moment_and_while_jobs_come(bench):
    repository = bench.repository
    names = [f"j{number:02d}" for number in range(23)]
    for name in names:
        await repository.submit(job(name), "d" * 64, "cpu", "normal")
    await bench.set("j07", created_at=moment(-1.0003))
    same = (await repository.page(JobFilter(), 1)).jobs[0].created_at
    for name in names[10:20]:
        await bench.set(name, created_at=same)
    seen, cursor = [], None
    for turn in range(100):
        page = await repository.page(JobFilter(state="queued"), 5, cursor)
        seen += [record.job_id for record in page.jobs]
        cursor = page.next_cursor
        await repository.submit(job(f"later-{turn}"), "d" * 64, "cpu", "normal")
        if cursor is None:
            break
    assert sorted(seen) == names


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "bnVsbA", "WzEsMl0", "W251bGwsICJhIl0", "ä", "W" * 50_000])
async def test_a_cursor_that_no_page_gave_is_refused(repository, cursor):
    with pytest.raises(InvalidCursor):
        await repository.page(JobFilter(), 5, cursor)


async def test_ids_are_found_by_their_beginning(repository):
    for name in ("film-1", "film-2", "FILM-3", "fi_m-4", "g"):
        await repository.submit(job(name), "d" * 64, "cpu", "normal")
    assert await repository.ids("film", 5) == ["film-1", "film-2"]
    assert await repository.ids("film", 1) == ["film-1"]
    assert await repository.ids("fi_", 5) == ["fi_m-4"]
    assert await repository.ids("nobody", 5) == []


async def test_a_retrying_job_says_when_it_is_due_and_can_run_now(repository):
    attempt = await granted(repository)
    await repository.retry_later(attempt, FAILURE, 600.0)
    due = (await repository.job("j1")).retry_at
    assert timedelta(seconds=500) < due - datetime.now(UTC) < timedelta(seconds=700)
    assert isinstance(await repository.claim(request(), POLICY), Waiting)
    assert await repository.run_now("j1")
    assert (await repository.job("j1")).retry_at is None
    assert (await granted(repository)).number == 2
    assert not await repository.run_now("j1")


async def test_a_new_document_takes_the_place_of_that_of_a_dead_job(repository):
    await repository.bury(await granted(repository), FAILURE)
    better = replace(job(), title="Better", tasks=(TaskSpec("gource", {"repo": "x"}, "tasks[0].data"),))
    record = await repository.reopen("j1", "e" * 64, better, ("visualize", "low"))
    assert (record.title, record.modules, record.lane, record.priority) == ("Better", ["gource"], "visualize", "low")
    assert record.document["tasks"] == [{"module": "gource", "data": {"repo": "x"}}]
    assert await listed(repository, module="gource", text="better") == ["j1"]


async def test_a_callback_that_failed_says_why(bench):
    attempt = await granted(bench.repository, a_job=replace(job(), callback_url="https://example.org/x"))
    await bench.repository.complete(attempt, Result())
    assert (await bench.repository.job("j1")).callback == "pending"
    await bench.repository.callback_done("j1", error="example.org is a private address")
    record = await bench.repository.job("j1")
    assert (record.callback, record.callback_error) == ("failed", "example.org is a private address")
