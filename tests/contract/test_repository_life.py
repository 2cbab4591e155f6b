"""The life of a job in the database, the same on SQLite and PostgreSQL."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from worker.adapters.sql import SqlRepository
from worker.core.attempt import Artifact, Failure, Progress, Result
from worker.core.errors import IdReused, InvalidJob, JobCancelled, LeaseLost
from worker.core.job import Job, TaskSpec
from worker.core.policy import Policy
from worker.core.ports import Buried, ClaimRequest, Finished, Granted, Renewal, Waiting

POLICY = Policy()
FAILURE = Failure("ffmpeg exited 1 after 62 s: no\0thing", "ToolFailed", "w1", 1)


def job(job_id="j1", **values):
    task = TaskSpec("ffmpeg", {"sources": ["a.mkv"], "token": "geheim"}, "tasks[0].data")
    return Job(job_id, "a film", (task,), "canonical", **values)


def request(a_job=None, worker="w1", **values):
    values = {"digest": "d" * 64, "lane": "cpu", "priority": "normal", "lease_seconds": 30.0} | values
    return ClaimRequest(a_job or job(), worker=worker, **values)


async def granted(repository, **values):
    claim = await repository.claim(request(**values), POLICY)
    assert isinstance(claim, Granted), claim
    return claim.attempt


def artifact(uri, **values):
    return Artifact("file", Path("/scratch/x"), uri, "video/mp4", 12, "ab" * 32, **values)


# ------------------------------------------------------------------ claim


async def test_an_unknown_job_is_recorded_and_granted(repository):
    attempt = await granted(repository, a_job=job(facts={"movie_id": "m7"}))
    assert (attempt.round, attempt.number, attempt.epoch, attempt.worker) == (1, 1, 1, "w1")
    assert abs(attempt.started_at - datetime.now(UTC)) < timedelta(seconds=30)
    record = await repository.job("j1")
    assert (record.state, record.lane, record.priority, record.title) == ("running", "cpu", "normal", "a film")
    assert record.facts == {"movie_id": "m7"}
    assert record.created_at.tzinfo is UTC
    assert record.started_at is not None
    assert "geheim" not in str(record.document)
    assert [(tried.number, tried.worker, tried.outcome) for tried in record.attempts] == [(1, "w1", None)]


async def test_a_submitted_job_is_queued_and_its_id_cannot_be_submitted_again(repository):
    await repository.submit(job(), "d" * 64, "cpu", "high")
    assert (await repository.job("j1")).state == "queued"
    with pytest.raises(IdReused, match="exists and is queued: choose another id"):
        await repository.submit(job(), "d" * 64, "cpu", "high")
    attempt = await granted(repository)
    assert attempt.number == 1
    await repository.bury(attempt, Failure("no media", "BadInput", "w1", 1))
    with pytest.raises(IdReused, match="retry j1"):
        await repository.submit(job(), "d" * 64, "cpu", "high")


async def test_a_live_lease_makes_others_wait(repository):
    await granted(repository)
    claim = await repository.claim(request(worker="w2"), POLICY)
    assert isinstance(claim, Waiting)
    assert "w1 holds it for" in claim.reason


async def test_an_id_with_another_body_is_refused_in_every_state(repository):
    attempt = await granted(repository)
    with pytest.raises(IdReused, match="running"):
        await repository.claim(request(job(priority="high"), digest="e" * 64), POLICY)
    await repository.complete(attempt, Result())
    with pytest.raises(IdReused, match="completed"):
        await repository.claim(request(job(priority="high"), digest="e" * 64), POLICY)


async def test_other_bytes_that_say_the_same_are_the_same_job(repository):
    await repository.complete(await granted(repository), Result())
    assert isinstance(await repository.claim(request(digest="e" * 64), POLICY), Finished)


async def test_of_many_claims_at_once_exactly_one_is_granted(repository, url):
    others = [SqlRepository(url) for _ in range(3)]
    for known in (False, True):
        job_id = f"raced-{known}"
        if known:
            await repository.submit(job(job_id), "d" * 64, "cpu", "normal")
        claims = await asyncio.gather(
            *(
                each.claim(request(job(job_id), worker=f"w{number}-{turn}"), POLICY)
                for turn in range(4)
                for number, each in enumerate(others)
            )
        )
        assert sum(isinstance(claim, Granted) for claim in claims) == 1
        assert sum(isinstance(claim, Waiting) for claim in claims) == 11
        assert len((await repository.job(job_id)).attempts) == 1
    for each in others:
        await each.close()


async def test_an_expired_lease_is_a_crash_and_is_charged(bench):
    first = await granted(bench.repository)
    await bench.expire("j1")
    second = await granted(bench.repository, worker="w2")
    assert (second.number, second.epoch) == (2, 2)
    record = await bench.repository.job("j1")
    assert [tried.outcome for tried in record.attempts] == ["crashed", None]
    assert record.attempts[0].error_type == "CrashLoop"
    with pytest.raises(LeaseLost):
        await bench.repository.renew(first)


async def test_of_many_successors_of_a_crash_exactly_one_is_granted_and_one_crash_charged(bench):
    await granted(bench.repository)
    await bench.expire("j1")
    claims = await asyncio.gather(*(bench.repository.claim(request(worker=f"s{n}"), POLICY) for n in range(8)))
    assert sum(isinstance(claim, Granted) for claim in claims) == 1
    assert await bench.column("j1", "crashes") == 1
    assert await bench.column("j1", "failures") == 1


async def test_three_crashes_bury_the_job_before_a_fourth_run(bench):
    for number in range(3):
        await granted(bench.repository, worker=f"w{number}")
        await bench.expire("j1")
    claim = await bench.repository.claim(request(worker="w9"), POLICY)
    assert isinstance(claim, Buried)
    assert claim.fresh
    assert claim.failure.error_type == "CrashLoop"
    assert claim.failure.message == "its attempts ended without a word 3 times, last on worker w2"
    assert claim.failure.worker == "w2"
    again = await bench.repository.claim(request(worker="w9"), POLICY)
    assert again == Buried(claim.failure, fresh=False)
    record = await bench.repository.job("j1")
    assert (record.state, record.error, len(record.attempts)) == ("dead", claim.failure.message, 3)
    assert record.finished_at is not None


async def test_a_crash_of_the_last_attempt_buries_the_job(bench):
    for number in range(3):
        attempt = await granted(bench.repository)
        assert attempt.number == number + 1
        await bench.repository.retry_later(attempt, FAILURE, 0.0)
    assert (await granted(bench.repository)).number == 4
    await bench.expire("j1")
    claim = await bench.repository.claim(request(), POLICY)
    assert isinstance(claim, Buried)
    assert "4 of 4" in claim.failure.message


async def test_a_crash_of_a_job_to_be_cancelled_cancels_it(bench):
    await granted(bench.repository)
    assert await bench.repository.request_cancel("j1") == "running"
    await bench.expire("j1")
    assert await bench.repository.claim(request(), POLICY) == Finished("cancelled")
    assert (await bench.repository.job("j1")).state == "cancelled"


async def test_the_header_counts_where_the_database_knows_less_within_its_round(repository):
    assert (await granted(repository, attempt_header=2)).number == 3
    assert (await granted(repository, a_job=job("other-round"), attempt_header=2, round_header=2)).number == 3
    await repository.submit(job("queued"), "d" * 64, "cpu", "normal")
    assert (await granted(repository, a_job=job("queued"), attempt_header=3, round_header=5)).number == 1


async def test_a_header_can_neither_pass_the_last_attempt_nor_break_the_row(repository):
    assert (await granted(repository, attempt_header=10**30, round_header=1)).number == 4
    assert (await granted(repository, a_job=job("far"), attempt_header=0, round_header=10**30)).number == 1
    assert (await granted(repository, a_job=job("neg"), attempt_header=-7, round_header=-7)).number == 1


async def test_a_claim_whose_answer_was_lost_gets_the_same_attempt_and_no_other_does(bench):
    asked = request()
    first = (await bench.repository.claim(asked, POLICY)).attempt
    await bench.expire("j1")
    assert (await bench.repository.claim(asked, POLICY)) == Granted(first)
    assert isinstance(await bench.repository.claim(request(), POLICY), Waiting), "the lease is fresh"
    assert await bench.column("j1", "crashes") == 0
    await bench.repository.release(first, "interrupted", "")
    assert (await bench.repository.claim(asked, POLICY)).attempt.epoch == 2


# ------------------------------------------------------------------ while it runs


async def test_a_renewal_extends_the_lease_and_brings_the_wish_to_cancel(bench):
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
        wish = (await repository.renew(attempt)).cancel
        assert (asked, announced is None, wish) in [("publishing", True, False), ("running", False, True)]


# ------------------------------------------------------------------ how it ends


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


async def test_a_redelivery_of_a_completed_job_is_told_of_its_deletions_until_they_are_done(repository):
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


ENDINGS = {
    "renew": lambda r, a: r.renew(a),
    "announce": lambda r, a: r.announce(a, ["u"]),
    "complete": lambda r, a: r.complete(a, Result((artifact("file:///late"),))),
    "retry_later": lambda r, a: r.retry_later(a, FAILURE, 30.0),
    "bury": lambda r, a: r.bury(a, FAILURE),
    "release": lambda r, a: r.release(a, "interrupted", "x"),
    "confirm_cancel": lambda r, a: r.confirm_cancel(a),
    "keep": lambda r, a: r.keep(a, "f", [], 60.0),
}


def repeats(ending, late):
    return late == ending or {ending, late} == {"bury", "retry_later"}


@pytest.mark.parametrize("name", ["complete", "retry_later", "bury", "release", "confirm_cancel"])
async def test_the_same_ending_again_is_told_that_it_stands_and_changes_nothing(repository, name):
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


@pytest.mark.parametrize("ending", ["complete", "bury", "confirm_cancel"])
@pytest.mark.parametrize("late", ENDINGS)
async def test_a_terminal_state_is_final(repository, ending, late):
    attempt = await granted(repository)
    await ENDINGS[ending](repository, attempt)
    before = await repository.job("j1")
    # Both fail the attempt: after its burial, a retry is told that the failure is recorded.
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
async def test_a_job_that_goes_back_with_a_wish_to_be_cancelled_is_cancelled(repository, back):
    attempt = await granted(repository, a_job=job(callback_url="https://example.org/told"))
    await repository.request_cancel("j1")
    await ENDINGS[back](repository, attempt)
    record = await repository.job("j1")
    assert record.state == "cancelled"
    assert record.finished_at is not None
    assert await repository.pending_callbacks(0.0) == ["j1"]
    assert await repository.claim(request(), POLICY) == Finished("cancelled")


async def test_a_success_tells_what_earlier_attempts_announced_and_it_did_not_make(bench):
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
    await bury(job("queued"), "e" * 64, "cpu", "low", FAILURE)
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


# ------------------------------------------------------------------ rounds and cancels


async def test_a_dead_job_stays_dead_until_somebody_replays_it(repository):
    attempt = await granted(repository)
    await repository.bury(attempt, FAILURE)
    claim = await repository.claim(request(), POLICY)
    assert claim == Buried(replace(FAILURE, message="ffmpeg exited 1 after 62 s: no\ufffdthing"), fresh=False)
    again = await granted(repository, replayed=True, attempt_header=3, round_header=1)
    assert (again.round, again.number, again.epoch) == (2, 1, 2)
    record = await repository.job("j1")
    assert (record.state, record.round, record.error, record.finished_at) == ("running", 2, None, None)
    assert [(tried.round, tried.epoch) for tried in record.attempts] == [(1, 1), (2, 2)]


async def test_reopening_begins_a_round_and_only_what_ended_badly_can_be_reopened(repository):
    attempt = await granted(repository)
    for state in ("running", "completed"):
        with pytest.raises(InvalidJob, match=state):
            await repository.reopen("j1")
        if state == "running":
            await repository.complete(attempt, Result())
    with pytest.raises(InvalidJob, match="no job"):
        await repository.reopen("nobody")
    await repository.bury(await granted(repository, a_job=job("dead")), FAILURE)
    record = await repository.reopen("dead", "f" * 64)
    assert (record.state, record.round, record.error) == ("queued", 2, None)
    again = await granted(repository, a_job=job("dead"), digest="f" * 64)
    assert (again.round, again.number, again.epoch) == (2, 1, 2)


@pytest.mark.parametrize("known", ["queued", "retrying"])
async def test_a_waiting_job_is_cancelled_at_once_and_can_be_reopened(repository, known):
    await repository.submit(job(), "d" * 64, "cpu", "normal")
    if known == "retrying":
        await repository.retry_later(await granted(repository), FAILURE, 30.0)
    assert await repository.request_cancel("j1") == "cancelled"
    assert await repository.claim(request(), POLICY) == Finished("cancelled")
    assert (await repository.reopen("j1")).state == "queued"
    assert (await granted(repository)).round == 2


async def test_cancelling_an_unknown_job_leaves_a_tombstone_that_the_claim_honours(repository):
    assert await repository.request_cancel("j1") == "cancelled"
    assert await repository.claim(request(), POLICY) == Finished("cancelled")
    assert await repository.request_cancel("j1") == "cancelled"
    with pytest.raises(InvalidJob, match="before it came"):
        await repository.reopen("j1")


async def test_a_running_job_confirms_its_cancel(repository):
    attempt = await granted(repository)
    assert await repository.request_cancel("j1") == "running"
    await repository.confirm_cancel(attempt)
    record = await repository.job("j1")
    assert (record.state, record.attempts[0].outcome) == ("cancelled", "cancelled")


# ------------------------------------------------------------------ adoption


async def test_a_redelivered_message_without_id_keeps_the_newest_id_of_its_body(repository):
    assert await repository.adopt("b" * 64, "first", redelivered=False) == "first"
    assert await repository.adopt("b" * 64, "second", redelivered=False) == "second"
    assert await repository.adopt("b" * 64, "third", redelivered=True) == "second"
    assert await repository.adopt("c" * 64, "fourth", redelivered=True) == "fourth"
    assert await repository.adopt("c" * 64, "fifth", redelivered=True) == "fourth"
