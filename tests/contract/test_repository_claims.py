"""Who is granted a job, and under which id and number, the same on SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.repositories import FAILURE, POLICY, granted, job, request
from worker.adapters.sql import SqlRepository
from worker.core.attempt import Failure, Result, Standby
from worker.core.errors import IdReused, LeaseLost
from worker.core.ports import Buried, Finished, Granted, Waiting


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
    assert claim.failure.message == "its attempts ended without a result 3 times, last on worker w2"
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


async def test_a_redelivered_message_without_id_keeps_the_newest_id_of_its_body(repository):
    assert await repository.adopt("b" * 64, "first", redelivered=False) == "first"
    assert await repository.adopt("b" * 64, "second", redelivered=False) == "second"
    assert await repository.adopt("b" * 64, "third", redelivered=True) == "first"
    assert await repository.adopt("c" * 64, "fourth", redelivered=True) == "fourth"
    assert await repository.adopt("c" * 64, "fifth", redelivered=True) == "fourth"


async def test_an_id_whose_copy_is_confirmed_is_given_to_no_other_message(repository):
    await repository.adopt("d" * 64, "first", redelivered=False)
    assert await repository.adopted("first", "first")
    assert await repository.adopt("d" * 64, "second", redelivered=True) == "second"


async def test_an_adoption_whose_answer_was_lost_is_asked_for_again_and_closed_once(repository):
    for _ in range(2):
        assert await repository.adopt("f" * 64, "first", redelivered=False) == "first"
    assert await repository.adopted("first", "first")
    assert not await repository.adopted("first", "first")
    assert await repository.adopt("f" * 64, "second", redelivered=True) == "second"


async def test_an_adoption_with_a_lost_answer_passes_whole_to_the_delivery_that_takes_it(repository):
    for _ in range(2):
        await repository.adopt("9" * 64, "first", redelivered=False)
    assert await repository.adopt("9" * 64, "second", redelivered=True) == "first"
    assert not await repository.adopted("first", "first")
    assert await repository.adopted("first", "second")
    assert await repository.adopt("9" * 64, "third", redelivered=True) == "third"


async def test_a_delivery_learns_that_another_one_took_its_adoption(repository):
    await repository.adopt("e" * 64, "first", redelivered=False)
    assert await repository.adopt("e" * 64, "second", redelivered=True) == "first"
    assert not await repository.adopted("first", "first")
    assert await repository.adopted("first", "second")
    assert not await repository.adopted("first", "second")


async def test_a_claim_knows_how_often_its_round_was_given_back_uncharged(repository):
    policy = replace(POLICY, max_returns=2)
    for number in range(4):
        claim = await repository.claim(request(worker=f"w{number}"), policy)
        assert isinstance(claim, Granted)
        assert claim.attempt.returns == (number if number >= policy.max_returns else 0)
        await repository.release(claim.attempt, "interrupted" if number % 2 else "deferred", "sick")


async def test_a_claim_knows_what_the_attempt_before_ended_with(repository):
    first = await granted(repository)
    assert first.previous is None
    await repository.retry_later(first, FAILURE, 0.0)
    assert (await granted(repository)).previous.error_type == FAILURE.error_type


async def test_one_copy_waits_for_a_job_and_the_others_learn_of_it(repository):
    attempt = await granted(repository)
    first = await repository.claim(request(worker="w2"), POLICY)
    assert (first.has_standby, first.epoch) == (False, attempt.epoch)
    assert 0 < first.seconds <= 30
    mine, other = Standby(first.epoch), Standby(first.epoch)
    await repository.stand_by("j1", mine)
    await repository.stand_by("j1", other)
    assert (await repository.claim(request(worker="w2"), POLICY)).has_standby
    assert (await repository.claim(request(worker="w2", standby=other.mark), POLICY)).has_standby
    assert not (await repository.claim(request(worker="w2", standby=mine.mark), POLICY)).has_standby
    again = Standby(first.epoch, before=mine.mark)
    await repository.stand_by("j1", again)
    assert (await repository.claim(request(worker="w2", standby=mine.mark), POLICY)).has_standby
    assert not (await repository.claim(request(worker="w2", standby=again.mark), POLICY)).has_standby


async def test_a_copy_that_waited_for_an_attempt_is_none_for_the_next_one(bench):
    first = await granted(bench.repository)
    waiting = await bench.repository.claim(request(worker="w2"), POLICY)
    standby = Standby(waiting.epoch)
    await bench.repository.stand_by("j1", standby)
    await bench.repository.release(first, "interrupted", "x")
    await granted(bench.repository)
    assert not (await bench.repository.claim(request(worker="w2"), POLICY)).has_standby
    await bench.repository.stand_by("j1", standby)
    assert not (await bench.repository.claim(request(worker="w2"), POLICY)).has_standby, "it was written too late"


async def test_after_the_death_of_a_copy_that_waited_another_one_may(repository):
    await granted(repository)
    waiting = await repository.claim(request(worker="w2"), POLICY)
    await repository.stand_by("j1", Standby(waiting.epoch))
    await repository.bury_unclaimed(job(), "d" * 64, "cpu", "normal", FAILURE)
    assert (await repository.job("j1")).state == "running"
    assert not (await repository.claim(request(worker="w2"), POLICY)).has_standby


@pytest.mark.parametrize("write", ["bury", "decline"])
async def test_only_a_message_of_the_job_itself_is_written_of_it_unclaimed(repository, write):
    """The id is another publisher's: its job stays as it is; other bytes that say the same are the same job."""

    async def unclaimed(of, digest):
        if write == "bury":
            return await repository.bury_unclaimed(of, digest, "cpu", "normal", FAILURE)
        return await repository.decline(of, digest, "cpu", "normal", "w2")

    await repository.submit(job(), "d" * 64, "cpu", "normal")
    before = await repository.job("j1")
    with pytest.raises(IdReused, match="belongs to a job with another body, which is queued"):
        await unclaimed(job(lane="nvenc"), "e" * 64)
    assert await repository.job("j1") == before
    said = await unclaimed(job(), "e" * 64)
    assert (await repository.job("j1")).state == ("dead" if write == "bury" else "queued")
    assert said is None or said.workers == {"w2"}
    assert said is None or said.epoch == 0
