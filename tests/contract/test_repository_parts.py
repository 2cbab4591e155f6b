"""Divided jobs and the outbox, the same on SQLite and PostgreSQL: races, ends, and what is true after each."""

import asyncio

import pytest

from tests.support.planned import COUNT, as_jobs, divided, empty_outbox, made, plan_of, taken
from tests.support.repositories import POLICY, granted, job, request
from worker.core.attempt import Failure, Progress
from worker.core.errors import IdReused, JobCancelled, LeaseLost
from worker.core.listing import JobFilter
from worker.core.parts import Part, Plan, part_key
from worker.core.ports import Buried, Finished, Granted, Waiting
from worker.core.ports.parts import MadePart
from worker.core.record import ProgressRecord


async def test_a_divided_job_waits_and_its_parts_are_queued_with_their_messages(repository):
    attempt = await granted(repository)
    planned = as_jobs(plan_of())
    await repository.divide(attempt, plan_of().document(), planned, ())
    record = await repository.job("j1")
    assert (record.state, record.attempts[0].outcome) == ("waiting", "divided")
    assert [(part.index, part.frames, part.state) for part in record.parts] == [(n, 10, "queued") for n in range(COUNT)]
    messages = await repository.outbox(0.0, 100)
    assert [message.body for message in messages] == [one.body for one in planned]
    assert all(message.is_part and message.lane == "cpu" for message in messages)
    assert await repository.outbox(60.0, 100) == []
    # the answer to the first statement may have been lost
    await repository.divide(attempt, plan_of().document(), planned, ())
    assert len(await repository.outbox(0.0, 100)) == COUNT
    assert await repository.claim(request(), POLICY) == Finished("waiting")


async def test_lists_and_counts_leave_parts_out(repository):
    await divided(repository)
    assert await repository.counts() == {"waiting": 1}


async def test_one_of_two_racing_plans_is_kept(repository, bench):
    first = await granted(repository)
    await bench.expire("j1")
    second = await granted(repository, worker="w2")
    plan = plan_of()
    results = await asyncio.gather(
        repository.divide(first, plan.document(), as_jobs(plan), ()),
        repository.divide(second, plan.document(), as_jobs(plan), ()),
        return_exceptions=True,
    )
    assert isinstance(results[0], LeaseLost)
    assert results[1] is None
    assert len(await repository.outbox(0.0, 100)) == COUNT


async def test_the_last_two_parts_that_end_in_one_moment_queue_one_join(repository):
    for _ in range(5):
        planned = await divided(repository)
        attempts = [await taken(repository, one, worker=f"w{one.part.index}") for one in planned]
        await repository.complete(attempts[0], made(planned[0]))
        assert await repository.outbox(0.0, 100) == []
        await asyncio.gather(
            *(repository.complete(one, made(part)) for one, part in zip(attempts[1:], planned[1:], strict=True))
        )
        (message,) = await repository.outbox(0.0, 100)
        assert (message.job_id, message.state, message.is_part) == ("j1", "queued", False)
        await repository.published([message.number])
        attempt = await granted(repository)
        known = await repository.known_plan("j1")
        assert [part.key for part in known.made] == [one.part.key for one in planned]
        await repository.release(attempt, "interrupted", "again")


async def test_a_part_that_is_completed_twice_queues_no_second_join(repository):
    planned = await divided(repository, plan_of(count=1))
    attempt = await taken(repository, planned[0])
    await repository.complete(attempt, made(planned[0]))
    await repository.complete(attempt, made(planned[0]))
    assert await empty_outbox(repository) == ["j1"]


async def test_a_dead_part_ends_its_job_and_the_parts_beside_it(repository):
    planned = await divided(repository)
    first, second = [await taken(repository, one) for one in planned[:2]]
    await repository.bury(second, Failure("no space", "ToolFailed", "w1", 4))
    record = await repository.job("j1")
    assert (record.state, record.error, record.error_type) == ("dead", "part 2 of 3: no space", "ToolFailed")
    assert [part.state for part in record.parts] == ["running", "dead", "cancelled"]
    assert (await repository.renew(first)).cancel
    (message,) = await repository.outbox(0.0, 100)
    assert (message.job_id, message.state, message.error) == ("j1", "dead", "part 2 of 3: no space")
    assert isinstance(await repository.claim(request(), POLICY), Buried)
    await repository.confirm_cancel(first)
    assert (await repository.job("j1")).state == "dead"


async def test_a_part_whose_worker_is_gone_ends_after_its_dead_job(repository, bench):
    planned = await divided(repository)
    first, second = [await taken(repository, one) for one in planned[:2]]
    await repository.bury(second, Failure("no space", "ToolFailed", "w1", 4))
    again = request(planned[0].job, digest=planned[0].digest)
    assert isinstance(await repository.claim(again, POLICY), Waiting), "its worker may still be at it"
    await bench.expire("j1.p0000")
    assert await repository.claim(again, POLICY) == Finished("cancelled")
    record = await repository.job("j1.p0000")
    assert (record.state, [one.outcome for one in record.attempts]) == ("cancelled", ["crashed"])
    with pytest.raises(LeaseLost):
        await repository.complete(first, made(planned[0]))


async def test_a_part_whose_worker_died_before_a_new_plan_is_made(repository, bench):
    planned = await divided(repository)
    await taken(repository, planned[0])
    await repository.bury(await taken(repository, planned[1]), Failure("changed", "PlanBroken", "w1", 1))
    again = request(planned[0].job, digest=planned[0].digest)
    assert isinstance(await repository.claim(again, POLICY), Waiting)
    await repository.divide(await granted(repository), plan_of().document(), planned, ())
    await bench.expire("j1.p0000")
    assert isinstance(await repository.claim(again, POLICY), Granted)


@pytest.mark.parametrize("kind", ["PlanBroken", "VerificationFailed", "Unserved"])
async def test_a_part_that_cannot_be_made_as_planned_sends_its_job_back(repository, kind):
    planned = await divided(repository)
    await repository.bury(await taken(repository, planned[0]), Failure("9 pictures instead of 10", kind, "w1", 1))
    assert (await repository.job("j1")).state == "queued"
    assert await empty_outbox(repository) == ["j1"]
    known = await repository.known_plan("j1")
    assert known.broken == "part 1 of 3: 9 pictures instead of 10"


async def test_a_crash_loop_of_a_part_ends_its_job(repository, bench):
    planned = await divided(repository)
    for _ in range(POLICY.max_crashes):
        await taken(repository, planned[0])
        await bench.expire("j1.p0000")
    claim = await repository.claim(request(planned[0].job, digest=planned[0].digest), POLICY)
    assert isinstance(claim, Buried)
    assert (await repository.job("j1")).state == "dead"


@pytest.mark.parametrize("name", ["j1", "j1.p0001"])
async def test_a_cancel_of_the_job_or_of_one_of_its_parts_ends_all(repository, name):
    planned = await divided(repository)
    first = await taken(repository, planned[0])
    assert await repository.request_cancel(name) == "cancelled"
    record = await repository.job("j1")
    assert [part.state for part in record.parts] == ["running", "cancelled", "cancelled"]
    assert (await repository.renew(first)).cancel
    await repository.confirm_cancel(first)
    assert await empty_outbox(repository) == []
    assert await repository.claim(request(planned[1].job, digest=planned[1].digest), POLICY) == Finished("cancelled")


async def test_a_cancel_that_came_before_the_plan_wins(repository):
    attempt = await granted(repository)
    await repository.request_cancel("j1")
    with pytest.raises(JobCancelled):
        await repository.divide(attempt, plan_of().document(), as_jobs(plan_of()), ())
    assert (await repository.job("j1")).state == "running"
    assert await repository.outbox(0.0, 100) == []


async def test_a_part_that_the_plan_made_is_no_message_and_its_file_goes_with_the_others(repository):
    plan = plan_of()
    history = Part(COUNT, part_key("one", "history"), name="history", suffix=".log", shared=True)
    plan = Plan(0, plan.frames, plan.identity, plan.build, (*plan.parts, history))
    attempt, planned = await granted(repository), as_jobs(plan)
    shared = MadePart(COUNT, history.key, "file:///s/.parts/j1/history.log", 7, "0" * 64)
    await repository.divide(attempt, plan.document(), planned, (), [shared])
    assert await empty_outbox(repository) == ["j1.p0000", "j1.p0001", "j1.p0002"]
    assert (await repository.known_plan("j1")).made == (shared,)
    assert await repository.part_files("j1") == [("j1.p0003", shared.uri)]
    for one in planned[:COUNT]:
        await repository.complete(await taken(repository, one), made(one))
    assert await empty_outbox(repository) == ["j1"], "the history was made: the last range queues the join"
    again = await granted(repository)
    await repository.divide(again, plan.document(), planned, (0, 1, 2))
    assert await empty_outbox(repository) == ["j1.p0003"], "a file that got lost is a part like any other"
    await repository.complete(await taken(repository, planned[COUNT]), made(planned[COUNT]))
    assert await empty_outbox(repository) == ["j1"]


async def test_a_part_that_is_made_while_its_job_is_retried_goes_on(repository):
    planned = await divided(repository)
    live = await taken(repository, planned[0])
    await repository.bury(await taken(repository, planned[1]), Failure("x", "ToolFailed", "w1", 4))
    await empty_outbox(repository)
    await repository.reopen("j1")
    attempt = await granted(repository)
    await repository.divide(attempt, plan_of().document(), planned, ())
    assert await empty_outbox(repository) == ["j1.p0001", "j1.p0002"], "nobody makes it a second time"
    await repository.complete(live, made(planned[0]))
    for one in planned[1:]:
        await repository.complete(await taken(repository, one), made(one))
    assert await empty_outbox(repository) == ["j1"]


async def test_a_retry_makes_only_what_is_missing(repository):
    planned = await divided(repository)
    await repository.complete(await taken(repository, planned[0]), made(planned[0]))
    await repository.bury(await taken(repository, planned[1]), Failure("x", "ToolFailed", "w1", 4))
    await empty_outbox(repository)
    await repository.reopen("j1")
    attempt = await granted(repository)
    known = await repository.known_plan("j1")
    standing = {part.index for part in known.made}
    assert standing == {0}
    await repository.divide(attempt, known.plan, planned, standing)
    assert await empty_outbox(repository) == ["j1.p0001", "j1.p0002"]
    for one in planned[1:]:
        await repository.complete(await taken(repository, one), made(one))
    assert await empty_outbox(repository) == ["j1"]


async def test_a_part_of_an_older_plan_neither_counts_nor_runs(repository):
    planned = await divided(repository, plan_of("one", count=COUNT))
    old = await taken(repository, planned[0])
    await repository.bury(await taken(repository, planned[1]), Failure("changed", "PlanBroken", "w1", 1))
    await empty_outbox(repository)
    attempt = await granted(repository)
    plan = plan_of("two", count=2)
    await repository.divide(attempt, plan.document(), as_jobs(plan), ())
    with pytest.raises(LeaseLost):
        await repository.complete(old, made(planned[0]))
    assert await repository.claim(request(planned[0].job, digest=planned[0].digest), POLICY) == Finished("cancelled")
    await empty_outbox(repository)
    for one in as_jobs(plan):
        await repository.complete(await taken(repository, one), made(one))
    assert await empty_outbox(repository) == ["j1"]


async def test_a_part_of_an_older_plan_is_not_shown_and_takes_no_share_of_the_progress(repository):
    planned = await divided(repository, plan_of("one", count=COUNT))
    await repository.bury(await taken(repository, planned[1]), Failure("changed", "PlanBroken", "w1", 1))
    plan = plan_of("two", count=2)
    await repository.divide(await granted(repository), plan.document(), as_jobs(plan), ())
    (first, _) = as_jobs(plan)
    await repository.complete(await taken(repository, first), made(first))
    record = await repository.job("j1")
    assert [(part.index, part.state) for part in record.parts] == [(0, "completed"), (1, "queued")]
    assert record.progress.percent == pytest.approx(50.0)
    assert (await repository.page(JobFilter("waiting"))).jobs[0].progress == record.progress


async def test_a_list_shows_the_progress_of_a_divided_job_as_its_own_page_does(repository):
    planned = await divided(repository)
    (listed,) = (await repository.page(JobFilter("waiting"))).jobs
    assert listed.progress == (await repository.job("j1")).progress == ProgressRecord(percent=0.0, task="parts")
    await repository.complete(await taken(repository, planned[0]), made(planned[0]))
    await repository.report(await taken(repository, planned[1]), Progress(50.0, "ffmpeg", 5.0))
    (listed,) = (await repository.page(JobFilter())).jobs
    assert listed.progress == (await repository.job("j1")).progress
    assert listed.progress == ProgressRecord(percent=50.0, task="parts", fps=5.0, eta_seconds=3.0)
    assert listed.parts == [], "a list is short"


async def test_a_part_that_no_plan_has_is_refused_and_leaves_no_row(repository):
    (planned, *_) = as_jobs(plan_of())
    with pytest.raises(IdReused, match="only workers write the parts of a job"):
        await repository.claim(request(planned.job, digest=planned.digest), POLICY)
    assert await repository.job("j1.p0000") is None


async def test_a_job_that_has_the_id_of_a_part_keeps_it(repository):
    await granted(repository, a_job=job("j1.p0001"))
    attempt = await granted(repository)
    with pytest.raises(IdReused, match="is taken by another job"):
        await repository.divide(attempt, plan_of().document(), as_jobs(plan_of()), ())
    assert await repository.outbox(0.0, 100) == []
    assert (await repository.job("j1.p0001")).title == "a film"


async def test_files_of_parts_are_known_until_they_are_gone(repository):
    planned = await divided(repository)
    done = await taken(repository, planned[0])
    await repository.complete(done, made(planned[0]))
    killed = await taken(repository, planned[1])
    await repository.announce(killed, ["file:///s/.parts/j1/half.mp4"])
    assert await repository.ended_with_parts(0.0) == []
    await repository.request_cancel("j1")
    assert await repository.ended_with_parts(0.0) == ["j1"]
    files = await repository.part_files("j1")
    assert {uri.rpartition("/")[2] for _, uri in files} == {planned[0].part.file, "half.mp4"}
    await repository.forget_part_files("j1")
    assert await repository.ended_with_parts(0.0) == []
    assert await repository.part_files("j1") == []


async def test_a_reopened_job_leaves_its_message_in_the_outbox_until_it_is_published(repository):
    await repository.bury(await granted(repository), Failure("no", "BadInput", "w", 1))
    await repository.reopen("j1", body=b'{"again": 1}')
    (message,) = await repository.outbox(0.0, 10)
    assert (message.job_id, message.body, message.state) == ("j1", b'{"again": 1}', "queued")
    assert await repository.outbox_of("j1") == [message.number]
    await repository.published(await repository.outbox_of("j1"))
    assert await repository.outbox_of("j1") == []
