"""The life of a claimed job in the database until it ends, the same on SQLite and PostgreSQL."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.support.repositories import ENDINGS, FAILURE, POLICY, artifact, granted, job, repeats, request
from worker.core.attempt import Progress, Result
from worker.core.errors import IdReused, JobCancelled, LeaseLost, OutputExists
from worker.core.ports import Finished, Renewal, Waiting


async def test_a_renewal_extends_the_lease_and_says_whether_to_cancel(bench):
    attempt = await granted(bench.repository, lease_seconds=30.0)
    await bench.expire("j1")
    assert await bench.repository.renew(attempt) == Renewal(cancel=False)
    assert isinstance(await bench.repository.claim(request(worker="w2"), POLICY), Waiting)
    await bench.repository.request_cancel("j1")
    assert await bench.repository.renew(attempt) == Renewal(cancel=True)


async def test_progress_is_stored_while_the_job_is_ours_and_never_after(repository):
    attempt = await granted(repository)
    await repository.report(attempt, Progress(41.5, "tasks[0] ffmpeg", 90.0, 3.1, 12.0))
    progress = (await repository.job("j1")).progress
    assert (progress.percent, progress.task, progress.fps, progress.speed, progress.eta_seconds) == (
        41.5, "tasks[0] ffmpeg", 90.0, 3.1, 12.0,
    )  # fmt: skip
    await repository.complete(attempt, Result())
    await repository.report(attempt, Progress(50.0))
    assert (await repository.job("j1")).progress.percent == 100.0


async def test_an_announcement_closes_cancel(repository):
    attempt = await granted(repository)
    await repository.announce(attempt, ["file:///out/e1/a.m4s", "file:///out/master.m3u8"])
    assert await repository.request_cancel("j1") == "publishing"
    assert await repository.renew(attempt) == Renewal(cancel=False)
    await repository.announce(attempt, ["file:///out/more.vtt"])
    assert await repository.planned("j1") == {
        "file:///out/e1/a.m4s", "file:///out/master.m3u8", "file:///out/more.vtt",
    }  # fmt: skip
    await repository.complete(attempt, Result())


async def test_an_announcement_after_a_cancel_is_refused(repository):
    attempt = await granted(repository)
    await repository.request_cancel("j1")
    with pytest.raises(JobCancelled):
        await repository.announce(attempt, ["file:///out/a"])
    assert await repository.planned("j1") == frozenset()
    await repository.confirm_cancel(attempt)
    with pytest.raises(LeaseLost):
        await repository.announce(attempt, ["file:///out/a"])


async def test_a_cancel_and_an_announcement_at_once_never_both_win(repository):
    for number in range(10):
        attempt = await granted(repository, a_job=job(f"j{number}"))
        asked, announced = await asyncio.gather(
            repository.request_cancel(f"j{number}"), repository.announce(attempt, ["u"]), return_exceptions=True
        )
        cancel = (await repository.renew(attempt)).cancel
        assert (asked, not isinstance(announced, BaseException), cancel) in [
            ("publishing", True, False),
            ("running", False, True),
        ]


async def test_a_completed_job_keeps_all_that_the_contract_lists(repository):
    attempt = await granted(repository, a_job=job(facts={"movie_id": "m7"}))
    result = Result(
        artifacts=(artifact("file:///out/b.mp4", duration=20.5), artifact("file:///out/a.mp4")),
        manifest_url="file:///out/b.mp4",
        thumbnail_url="file:///out/t.jpg",
        deletions=("file:///in/a.mkv",),
        facts={"warnings": ["x"], "infinite": float("inf"), "path": Path("/p")},
        total_seconds=3.5,
        task_seconds=(("ffmpeg", 3.0), ("ffmpeg", 0.5)),
    )
    await repository.report(attempt, Progress(10.0, "tasks[1]"))
    assert await repository.complete(attempt, result) == ()
    record = await repository.job("j1")
    assert record.state == "completed"
    assert [made.uri for made in record.artifacts] == ["file:///out/b.mp4", "file:///out/a.mp4"]
    assert record.artifacts[0].model_dump() == {
        "role": "file", "uri": "file:///out/b.mp4", "media_type": "video/mp4", "bytes": 12, "sha256": "ab" * 32,
        "duration": 20.5,
    }  # fmt: skip
    assert (record.manifest_url, record.thumbnail_url) == ("file:///out/b.mp4", "file:///out/t.jpg")
    assert record.facts == {"movie_id": "m7", "warnings": ["x"], "infinite": None, "path": "/p"}
    assert record.metrics["total_seconds"] == 3.5
    assert record.metrics["task_seconds"] == [
        {"task": "ffmpeg", "seconds": 3.0},
        {"task": "ffmpeg", "seconds": 0.5},
    ]
    assert record.progress.percent == 100.0
    assert record.finished_at >= record.started_at >= record.created_at
    assert record.attempts[0].outcome == "completed"
    assert record.attempts[0].ended_at is not None


async def test_a_redelivery_of_a_completed_job_returns_its_deletions_until_they_are_done(repository):
    attempt = await granted(repository)
    await repository.complete(attempt, Result(deletions=("file:///in/a.mkv",)))
    assert await repository.claim(request(), POLICY) == Finished("completed", ("file:///in/a.mkv",))
    await repository.deleted("j1")
    assert await repository.claim(request(), POLICY) == Finished("completed")


async def test_an_attempt_whose_lease_ran_out_may_complete_while_nobody_claimed(bench):
    attempt = await granted(bench.repository)
    await bench.expire("j1")
    await bench.repository.complete(attempt, Result())
    assert (await bench.repository.job("j1")).state == "completed"


@pytest.mark.parametrize("name", ["complete", "retry_later", "bury", "release", "confirm_cancel"])
async def test_the_same_ending_again_is_accepted_and_changes_nothing(repository, name):
    attempt = await granted(repository)
    await ENDINGS[name](repository, attempt)
    before = await repository.job("j1")
    await ENDINGS[name](repository, attempt)
    assert await repository.job("j1") == before
    if before.state in {"queued", "retrying"}:
        await repository.request_cancel("j1")
        await repository.reopen("j1")
        await ENDINGS[name](repository, await granted(repository, worker="w2"))
        with pytest.raises(LeaseLost):
            await ENDINGS[name](repository, attempt)


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_lost_attempt_changes_nothing(bench, name):
    lost = await granted(bench.repository)
    await bench.expire("j1")
    await granted(bench.repository, worker="w2")
    before = await bench.repository.job("j1")
    with pytest.raises(LeaseLost):
        await ENDINGS[name](bench.repository, lost)
    await bench.repository.report(lost, Progress(99.0))
    assert await bench.repository.job("j1") == before


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_first_claim_that_a_power_cut_took_back_has_lost_to_the_next_one(bench, name):
    """The next one has the same epoch: the database knows nothing of the first."""
    lost = await granted(bench.repository)
    await bench.take_back("j1")
    with pytest.raises(LeaseLost):
        await ENDINGS[name](bench.repository, lost)
    holder = await granted(bench.repository, worker="w2")
    assert holder.epoch == lost.epoch
    before = await bench.repository.job("j1")
    with pytest.raises(LeaseLost):
        await ENDINGS[name](bench.repository, lost)
    await bench.repository.report(lost, Progress(99.0))
    assert await bench.repository.job("j1") == before
    await bench.repository.complete(holder, Result())
    with pytest.raises(LeaseLost):
        await ENDINGS[name](bench.repository, lost)


@pytest.mark.parametrize("ending", ["complete", "bury", "confirm_cancel"])
@pytest.mark.parametrize("late", ENDINGS)
async def test_a_terminal_state_is_final(repository, ending, late):
    attempt = await granted(repository)
    await ENDINGS[ending](repository, attempt)
    before = await repository.job("j1")
    # Both fail the attempt: after its burial, a retry finds the failure recorded.
    with contextlib.nullcontext() if repeats(ending, late) else pytest.raises(LeaseLost):
        await ENDINGS[late](repository, attempt)
    await repository.report(attempt, Progress(1.0))
    await repository.bury_unclaimed(job(), "d" * 64, "cpu", "normal", FAILURE)
    assert await repository.request_cancel("j1") == before.state
    assert await repository.job("j1") == before


async def test_a_failure_is_charged_and_waits_for_its_delay_less_a_second(bench):
    attempt = await granted(bench.repository)
    await bench.repository.retry_later(attempt, FAILURE, 120.0)
    record = await bench.repository.job("j1")
    assert (record.state, record.error_type) == ("retrying", "ToolFailed")
    assert record.error == "ffmpeg exited 1 after 62 s: no\ufffdthing"
    assert (record.attempts[0].outcome, record.attempts[0].error) == ("failed", record.error)
    claim = await bench.repository.claim(request(), POLICY)
    assert isinstance(claim, Waiting)
    assert "due in 119 s" in claim.reason or "due in 118 s" in claim.reason
    await bench.come_due("j1")
    assert (await granted(bench.repository, attempt_header=1)).number == 2


async def test_a_message_that_comes_a_second_early_is_granted(repository):
    await repository.retry_later(await granted(repository), FAILURE, 1.0)
    assert (await granted(repository)).number == 2


@pytest.mark.parametrize("outcome", ["interrupted", "deferred"])
async def test_a_released_job_is_charged_to_nobody_and_free_at_once(repository, outcome):
    attempt = await granted(repository)
    await repository.release(attempt, outcome, "the worker is going down")
    record = await repository.job("j1")
    assert (record.state, record.attempts[0].outcome) == ("queued", outcome)
    assert record.attempts[0].error == "the worker is going down"
    again = await granted(repository, worker="w2")
    assert (again.number, again.epoch) == (1, 2)


@pytest.mark.parametrize("back", ["release", "retry_later"])
async def test_a_job_that_goes_back_after_a_cancel_is_cancelled(repository, back):
    attempt = await granted(repository, a_job=job(callback_url="https://example.org/callback"))
    await repository.request_cancel("j1")
    await ENDINGS[back](repository, attempt)
    record = await repository.job("j1")
    assert record.state == "cancelled"
    assert record.finished_at is not None
    assert await repository.pending_callbacks(0.0, 10) == [("j1", "https://example.org/callback")]
    assert await repository.claim(request(), POLICY) == Finished("cancelled")


async def test_a_success_states_what_earlier_attempts_announced_and_it_did_not_make(bench):
    first = await granted(bench.repository)
    await bench.repository.announce(first, ["file:///out/e1/a.m4s", "file:///out/master.m3u8"])
    await bench.expire("j1")
    second = await granted(bench.repository)
    assert await bench.repository.planned("j1") == {"file:///out/e1/a.m4s", "file:///out/master.m3u8"}
    await bench.repository.announce(second, ["file:///out/e2/a.m4s", "file:///out/master.m3u8"])
    made = Result((artifact("file:///out/e2/a.m4s"), artifact("file:///out/master.m3u8")))
    assert await bench.repository.complete(second, made) == ("file:///out/e1/a.m4s",)


async def test_the_last_failure_leaves_the_record_of_a_job_that_completed(repository):
    await repository.retry_later(await granted(repository), FAILURE, 0.0)
    await repository.complete(await granted(repository), Result())
    record = await repository.job("j1")
    assert record.error is None
    assert [tried.outcome for tried in record.attempts] == ["failed", "completed"]


async def test_a_job_that_no_attempt_ran_is_buried_unless_it_lives(bench):
    bury = bench.repository.bury_unclaimed
    await bury(job("unknown"), "d" * 64, "cpu", "low", FAILURE)
    record = await bench.repository.job("unknown")
    assert (record.state, record.error_type, record.attempts) == ("dead", "ToolFailed", [])
    await bench.repository.submit(job("queued"), "d" * 64, "cpu", "low")
    with pytest.raises(IdReused):
        await bury(job("queued", lane="nvenc"), "e" * 64, "cpu", "low", FAILURE)
    assert (await bench.repository.job("queued")).state == "queued"
    await bury(job("queued"), "d" * 64, "cpu", "low", FAILURE)
    assert (await bench.repository.job("queued")).state == "dead"
    await granted(bench.repository)
    await bury(job(), "d" * 64, "cpu", "low", FAILURE)
    assert (await bench.repository.job("j1")).state == "running"
    await bench.expire("j1")
    await bury(job(), "d" * 64, "cpu", "low", FAILURE)
    record = await bench.repository.job("j1")
    assert (record.state, record.attempts[0].outcome) == ("dead", "crashed")


# ------------------------------------------------------------------ which job makes a file


async def test_a_file_is_made_by_one_job_at_a_time_and_knows_what_its_attempts_made(repository):
    own = {"nas://a.mkv": "1" * 64, "nas://b.mkv": "2" * 64}
    first = await granted(repository)
    assert await repository.announce(first, list(own), own) == {"nas://a.mkv": (), "nas://b.mkv": ()}
    other = await granted(repository, a_job=job("j2"))
    with pytest.raises(OutputExists, match=r"nas://a\.mkv: the job j1, which is publishing"):
        await repository.announce(other, ["nas://a.mkv"], {"nas://a.mkv": "3" * 64})
    await repository.release(first, "interrupted", "x")
    again = await granted(repository)
    found = await repository.announce(again, list(own), {"nas://a.mkv": "4" * 64})
    assert found == {"nas://a.mkv": ("1" * 64,)}
    await repository.bury(again, FAILURE)
    assert await repository.announce(other, ["nas://a.mkv"], {"nas://a.mkv": "3" * 64}) == {"nas://a.mkv": ()}


async def test_of_many_jobs_that_announce_one_file_one_does(repository):
    jobs = [await granted(repository, a_job=job(f"j{number}")) for number in range(4)]
    own = {f"nas://{name}.mkv": "1" * 64 for name in "abc"}
    results = await asyncio.gather(
        *(repository.announce(attempt, list(own), own) for attempt in jobs), return_exceptions=True
    )
    assert sum(isinstance(one, dict) for one in results) == 1
    assert sum(isinstance(one, OutputExists) for one in results) == 3


async def test_a_job_of_thousands_of_files_is_announced_in_few_statements(repository):
    """Ten thousand copies fit into one message: one by one they took longer than a database may take to answer."""
    attempt = await granted(repository)
    own = {f"nas://films/{number}.mkv": f"{number:064}" for number in range(2000)}
    statements = []

    def count(_connection, _cursor, statement, *_more):
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        found = await repository.announce(attempt, list(own), own)
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert found == dict.fromkeys(own, ())
    assert len(statements) < 50
    await repository.release(attempt, "interrupted", "x")
    again = await granted(repository)
    assert await repository.announce(again, list(own), own) == {uri: (digest,) for uri, digest in own.items()}
