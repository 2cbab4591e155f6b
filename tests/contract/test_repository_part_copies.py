"""The second copy of a slow part, the same on SQLite and PostgreSQL: when there is one, and which of the two counts."""

import asyncio
import json
from hashlib import sha256

import pytest

from tests.support.planned import COUNT, as_jobs, divided, empty_outbox, made, plan_of, taken
from tests.support.repositories import POLICY, granted, request
from worker.core.attempt import Failure, Progress
from worker.core.errors import JobCancelled
from worker.core.listing import JobFilter
from worker.core.message.dialects import decode
from worker.core.parts import copy_id
from worker.core.ports import Finished
from worker.core.ports.parts import PlannedPart


async def slow_part(repository):
    """Return the planned parts of a job, two of which are made, and the attempt of the third, which is not."""
    planned = await divided(repository)
    for one in planned[:2]:
        await repository.complete(await taken(repository, one), made(one))
    return planned, await taken(repository, planned[2], worker="slow")


def copied(slow, planned):
    document = dict(slow.document) | {"job_id": copy_id(slow.job_id)}
    body = json.dumps(document).encode()
    return PlannedPart(planned.part, decode(body, copy_id(slow.job_id)), body, sha256(body).hexdigest())


async def copy_of_the_slow_part(repository):
    planned, attempt = await slow_part(repository)
    (slow,) = await until_slow(repository)
    copy = copied(slow, planned[2])
    assert await repository.copy_part(slow, copy)
    assert await empty_outbox(repository) == ["j1.p0002.2"]
    return planned, attempt, copy


async def until_slow(repository, worker="other"):
    """Return the slow parts once the part runs for twice the milliseconds that the others took."""
    async with asyncio.timeout(30):
        while not (found := await repository.slow_parts(worker, ("cpu",), 0.0)):
            await asyncio.sleep(0.02)
    return found


async def test_a_part_that_runs_far_longer_than_the_others_took_is_made_twice_by_another_worker(repository):
    planned, _ = await slow_part(repository)
    (slow,) = await until_slow(repository)
    assert (slow.job_id, slow.parent_id, slow.index) == ("j1.p0002", "j1", 2)
    assert await repository.slow_parts("slow", ("cpu",), 0.0) == [], "its own worker makes it already"
    assert await repository.slow_parts("other", ("gpu",), 0.0) == []
    assert await repository.slow_parts("other", ("cpu",), 3600.0) == []
    assert await repository.copy_part(slow, copied(slow, planned[2]))
    assert not await repository.copy_part(slow, copied(slow, planned[2])), "two copies are enough"
    assert await repository.slow_parts("other", ("cpu",), 0.0) == []


async def test_no_part_is_made_twice_while_other_jobs_wait_or_too_few_are_made(repository):
    planned = await divided(repository)
    await repository.complete(await taken(repository, planned[0]), made(planned[0]))
    await taken(repository, planned[1], worker="slow")
    assert await repository.slow_parts("other", ("cpu",), 0.0) == [], "a part waits"
    await taken(repository, planned[2], worker="slow")
    assert await repository.slow_parts("other", ("cpu",), 0.0) == [], "one part alone says nothing"


async def test_the_first_copy_that_is_completed_counts_and_the_other_is_cancelled(repository):
    _, slow, copy = await copy_of_the_slow_part(repository)
    fast = await taken(repository, copy, worker="fast")
    await repository.complete(fast, made(copy))
    assert await empty_outbox(repository) == ["j1"]
    with pytest.raises(JobCancelled):
        await repository.announce(slow, ["file:///s/.parts/j1/late.mp4"])
    await repository.confirm_cancel(slow)
    assert await empty_outbox(repository) == []
    record = await repository.job("j1")
    assert record.state == "queued"
    assert [part.state for part in record.parts] == ["completed"] * COUNT
    assert len((await repository.known_plan("j1")).made) == COUNT


async def test_a_copy_that_nobody_took_ends_with_the_part(repository):
    planned, slow, copy = await copy_of_the_slow_part(repository)
    await repository.complete(slow, made(planned[2]))
    assert await empty_outbox(repository) == ["j1"]
    claim = await repository.claim(request(copy.job, copy.digest), POLICY)
    assert claim == Finished("cancelled")


async def test_two_copies_that_end_in_one_moment_queue_one_join(repository):
    planned, slow, copy = await copy_of_the_slow_part(repository)
    fast = await taken(repository, copy, worker="fast")
    await repository.announce(slow, ["file:///s/.parts/j1/a.mp4"])
    await repository.announce(fast, ["file:///s/.parts/j1/2/a.mp4"])
    await asyncio.gather(repository.complete(slow, made(planned[2])), repository.complete(fast, made(copy)))
    assert await empty_outbox(repository) == ["j1"]


@pytest.mark.parametrize("first", ["copy", "part"])
async def test_the_death_of_one_copy_ends_nothing_while_the_other_is_made(repository, first):
    _, slow, copy = await copy_of_the_slow_part(repository)
    fast = await taken(repository, copy, worker="fast")
    dead, alive = (fast, slow) if first == "copy" else (slow, fast)
    await repository.bury(dead, Failure("no", "BadInput", "w", 1))
    await repository.report(alive, Progress(70.0, "ffmpeg", 10.0))
    record = await repository.job("j1")
    assert (record.state, record.parts[2].state) == ("waiting", "running"), "the part is not dead"
    assert record.progress.percent == pytest.approx(90.0)
    assert (await repository.page(JobFilter("waiting"))).jobs[0].progress == record.progress
    await repository.bury(alive, Failure("no", "BadInput", "w", 1))
    assert (await repository.job("j1")).state == "dead"


async def test_a_copy_whose_file_is_lost_ends_when_the_part_is_planned_anew(repository):
    planned, slow, copy = await copy_of_the_slow_part(repository)
    await repository.complete(await taken(repository, copy, worker="fast"), made(copy))
    await repository.confirm_cancel(slow)
    await empty_outbox(repository)
    attempt = await granted(repository)
    await repository.divide(attempt, plan_of().document(), as_jobs(plan_of()), (0, 1))
    assert await empty_outbox(repository) == ["j1.p0002"]
    assert len((await repository.known_plan("j1")).made) == 2
    await repository.complete(await taken(repository, planned[2]), made(planned[2]))
    assert await empty_outbox(repository) == ["j1"]
