"""Jobs that are replayed, reopened and cancelled, the same on SQLite and PostgreSQL."""

from dataclasses import replace

import pytest

from tests.support.repositories import FAILURE, POLICY, granted, job, request
from worker.core.attempt import Result
from worker.core.errors import InvalidJob
from worker.core.ports import Buried, Finished


async def test_a_dead_job_stays_dead_until_somebody_replays_it(repository):
    attempt = await granted(repository)
    await repository.bury(attempt, FAILURE)
    claim = await repository.claim(request(), POLICY)
    assert claim == Buried(replace(FAILURE, message="ffmpeg exited 1 after 62 s: no\ufffdthing"), fresh=False)
    forged = await repository.claim(request(death_mark="0" * 32), POLICY)
    assert isinstance(forged, Buried)
    assert forged.failure.mark == FAILURE.mark
    again = await granted(repository, death_mark=FAILURE.mark, attempt_header=3, round_header=1)
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


async def test_an_attempt_knows_the_failure_that_its_round_was_charged_with_last(repository):
    first = await granted(repository)
    assert first.previous is None
    await repository.retry_later(first, FAILURE, 0.0)
    second = await granted(repository)
    assert second.previous is not None
    assert (second.previous.error_type, second.previous.attempt) == (FAILURE.error_type, 1)
    await repository.release(second, "interrupted", "going down")
    third = await granted(repository)
    assert third.previous == second.previous
    await repository.bury(third, replace(FAILURE, attempt=2))
    assert (await granted(repository, death_mark=FAILURE.mark)).previous is None
