"""When a job may be taken over from a worker that is silent, the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime

import pytest

from tests.support.repositories import POLICY, granted, request
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.answers import Answers
from worker.adapters.sql.schema import moment
from worker.core.attempt import Standby
from worker.core.ports import Granted, Waiting

LEASES = {"lease_seconds": 8.0, "long_lease_seconds": 30.0}


async def seconds_left(bench) -> float:
    return (await bench.column("j1", "lease_until") - datetime.now(UTC)).total_seconds()


async def test_the_lease_is_short_while_nothing_can_be_seen_and_long_while_outputs_become_visible(bench):
    attempt = await granted(bench.repository, **LEASES)
    await bench.repository.renew(attempt)
    assert 2 < await seconds_left(bench) < 9
    await bench.repository.announce(attempt, ["file:///a.mkv"])
    assert 20 < await seconds_left(bench) < 31
    await bench.repository.renew(attempt)
    assert 20 < await seconds_left(bench) < 31


async def test_a_holder_that_lives_gets_the_long_lease_as_soon_as_a_copy_waits_for_its_job(bench):
    attempt = await granted(bench.repository, **LEASES)
    waiting = await bench.repository.claim(request(worker="w2", **LEASES), POLICY)
    assert isinstance(waiting, Waiting)
    await bench.repository.stand_by("j1", Standby(waiting.epoch))
    assert await seconds_left(bench) < 9
    await bench.repository.renew(attempt)
    assert 20 < await seconds_left(bench) < 31


@pytest.fixture
async def other(bench):
    """Return a worker's repository that notes answers, and its clock."""
    now = [1000.0]
    repository = SqlRepository(bench.url, lease_seconds=8.0)
    repository._database._answers = Answers(6.0, lambda: now[0])
    yield repository, now
    await repository.close()


async def test_after_an_outage_the_holder_renews_first(bench, other):
    """The database was away for 20 s, and with it the broker: the copy is there as soon as both are back."""
    attempt = await granted(bench.repository, **LEASES)
    repository, now = other
    for now[0] in (1000.0, 1005.0, 1010.0):
        await repository.job("j1")
    await bench.set("j1", lease_until=moment(-12))
    now[0] = 1030.0
    claim = await repository.claim(request(worker="w2", **LEASES), POLICY)
    assert isinstance(claim, Waiting)
    assert claim.reason == "the database is back, and w1 may renew its lease"
    assert 7 < claim.seconds < 8.1
    await bench.repository.renew(attempt)
    now[0] = 1038.0
    assert isinstance(await repository.claim(request(worker="w2", **LEASES), POLICY), Waiting)
    assert len((await repository.job("j1")).attempts) == 1


async def test_a_holder_that_does_not_come_back_after_an_outage_is_succeeded_a_lease_later(bench, other):
    await granted(bench.repository, **LEASES)
    repository, now = other
    await bench.set("j1", lease_until=moment(-1))
    for now[0] in (1000.0, 1005.0):
        assert isinstance(await repository.claim(request(worker="w2", **LEASES), POLICY), Waiting)
    now[0] = 1008.0
    claim = await repository.claim(request(worker="w2", **LEASES), POLICY)
    assert isinstance(claim, Granted)
    assert claim.attempt.epoch == 2


async def test_a_steady_database_lets_a_silent_job_go_at_the_end_of_its_short_lease(bench, other):
    await granted(bench.repository, **LEASES)
    repository, now = other
    for now[0] in (1000.0, 1005.0, 1010.0):
        await repository.job("j1")
    assert isinstance(await repository.claim(request(worker="w2", **LEASES), POLICY), Waiting)
    await bench.expire("j1")
    assert isinstance(await repository.claim(request(worker="w2", **LEASES), POLICY), Granted)


async def test_as_long_a_silence_as_a_job_that_publishes_may_keep_is_enough_whatever_is_known_of_the_database(
    bench, other
):
    """Many workers that look at one message by turns, each rarely, would else never take it over."""
    await granted(bench.repository, **LEASES)
    repository, _ = other
    await bench.set("j1", lease_until=moment(-22.5))
    assert isinstance(await repository.claim(request(worker="w2", **LEASES), POLICY), Granted)
