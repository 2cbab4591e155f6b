"""What is looked for after data was lost, the same on both databases."""

import pytest

from tests.support.repositories import FAILURE, granted, job, request
from worker.adapters.sql.schema import moment
from worker.core.attempt import Artifact, Result
from worker.core.errors import LeaseLost
from worker.core.policy import Policy
from worker.core.ports import Granted, Waiting


def names(found) -> list[str]:
    return [item.job_id for item in found]


async def test_a_queued_job_is_overdue_since_it_came(bench):
    await bench.repository.submit(job("old"), "d" * 64, "cpu", "low")
    await bench.repository.submit(job("new"), "d" * 64, "cpu", "low")
    await bench.set("old", created_at=moment(-100))
    (found,) = await bench.repository.overdue(50)
    assert (found.job_id, found.state, found.lane, found.priority) == ("old", "queued", "cpu", "low")
    assert 99 < found.seconds < 160


async def test_a_retry_is_overdue_since_it_was_due_and_a_running_job_since_its_lease_ran_out(bench):
    repository = bench.repository
    await repository.retry_later(await granted(repository, a_job=job("retry")), FAILURE, 5.0)
    await granted(repository, a_job=job("live"))
    assert await repository.overdue(1) == []
    await bench.set("retry", not_before=moment(-20))
    await bench.set("live", lease_until=moment(-10))
    assert names(await repository.overdue(1)) == ["retry", "live"]
    assert names(await repository.overdue(15)) == ["retry"]


async def test_a_job_that_was_given_back_is_overdue_since_then(bench):
    attempt = await granted(bench.repository, a_job=job("back"))
    await bench.repository.release(attempt, "interrupted", "the worker is going down")
    await bench.set("back", created_at=moment(-100))
    assert await bench.repository.overdue(50) == []
    assert names(await bench.repository.overdue(0)) == ["back"]


async def test_a_requeued_job_is_claimed_with_its_new_body_and_its_old_worker_has_lost_it(bench):
    repository = bench.repository
    attempt = await granted(repository, a_job=job("live"))
    await bench.expire("live")
    assert await repository.requeue("live", "e" * 64)
    with pytest.raises(LeaseLost):
        await repository.complete(attempt, Result())
    claim = await repository.claim(request(job("live"), digest="e" * 64), Policy())
    assert isinstance(claim, Granted)
    record = await repository.job("live")
    assert [one.outcome for one in record.attempts] == ["crashed", None]


async def test_a_job_that_is_not_overdue_is_not_requeued(bench):
    repository = bench.repository
    await granted(repository, a_job=job("live"))
    assert not await repository.requeue("live", "e" * 64)
    assert not await repository.requeue("nobody", "e" * 64)
    attempt = await granted(repository, a_job=job("done"))
    await repository.complete(attempt, Result())
    assert not await repository.requeue("done", "e" * 64)
    assert isinstance(await repository.claim(request(job("live")), Policy()), Waiting)


async def test_deletions_are_pending_until_they_are_done(bench):
    repository = bench.repository
    attempt = await granted(repository, a_job=job("a"))
    await repository.complete(attempt, Result(deletions=("file:///a", "file:///b")))
    pending = {"a": ("file:///a", "file:///b")}
    assert await repository.pending_deletions() == pending
    assert await repository.pending_deletions((-60.0, 60.0)) == pending
    assert await repository.pending_deletions((60.0, 86400.0)) == {}
    await repository.deleted("a")
    assert await repository.pending_deletions() == {}


async def test_announced_outputs_of_ended_jobs_without_a_record_are_reported(bench, tmp_path):
    repository = bench.repository
    first = await granted(repository, a_job=job("a"))
    await repository.announce(first, ["file:///a/e1/x", "file:///a/main"])
    assert await repository.announced() == []
    await bench.expire("a")
    second = await granted(repository, a_job=job("a"))
    artifact = Artifact("file", tmp_path, "file:///a/main", "text/plain", 1, "f" * 64)
    await repository.complete(second, Result(artifacts=(artifact,)))
    dead = await granted(repository, a_job=job("b"))
    await repository.announce(dead, ["file:///b/main"])
    await repository.bury(dead, FAILURE)
    a, b = await repository.announced()
    assert (a.uris, a.result) == ({"file:///a/e1/x", "file:///a/main"}, {"file:///a/main"})
    assert (b.uris, b.result) == ({"file:///b/main"}, None)
