"""A lease that is not renewed ends the work before anybody else may begin."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from test_policy import attempt

from worker.core.errors import DatabaseUnavailable, JobCancelled, LeaseLost, ShuttingDown
from worker.core.ports import Renewal
from worker.engine.attempt.lease import Lease

SHORT = replace(attempt(), lease_seconds=0.3)


class Answers:
    """A repository of which only `renew` is asked: it gives what the test says, the last one for ever."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def renew(self, _attempt) -> Renewal:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def ended(lease: Lease, seconds: float = 5) -> type:
    over = asyncio.Event()
    lease.start(over.set)
    async with asyncio.timeout(seconds):
        await over.wait()
    await lease.stop()
    return type(lease.ended)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (LeaseLost("another epoch"), LeaseLost),
        (Renewal(cancel=True), JobCancelled),
        (DatabaseUnavailable("away"), LeaseLost),
    ],
)
async def test_the_work_ends_and_the_reason_is_reported(answer, reason):
    assert await ended(Lease(Answers(Renewal(cancel=False), answer), SHORT)) is reason


async def test_a_database_that_comes_back_in_time_ends_nothing():
    repository = Answers(DatabaseUnavailable("away"), Renewal(cancel=False))
    lease = Lease(repository, SHORT)
    over = asyncio.Event()
    lease.start(over.set)
    async with asyncio.timeout(5):
        while repository.asked < 6:
            await asyncio.sleep(0.01)
    assert not over.is_set()
    await lease.stop()


async def test_a_fixed_name_is_confirmed_by_a_renewal_or_not_at_all():
    await Lease(Answers(DatabaseUnavailable("away"), Renewal(cancel=False)), SHORT).confirm()
    with pytest.raises(LeaseLost):
        await Lease(Answers(DatabaseUnavailable("away")), SHORT).confirm()


async def test_a_lease_keeps_the_first_reason_of_its_end():
    lease = Lease(Answers(Renewal(cancel=False)), SHORT)
    lease.end(ShuttingDown("first"))
    lease.end(LeaseLost("second"))
    assert str(lease.ended) == "first"


async def test_a_renewal_never_comes_between_the_record_and_our_knowing_of_it():
    recorded = asyncio.Event()

    class Ended:
        async def renew(self, _attempt) -> Renewal:
            if recorded.is_set():
                raise LeaseLost("the job has ended")
            return Renewal(cancel=False)

    async def record() -> str:
        recorded.set()
        await asyncio.sleep(SHORT.lease_seconds / 3)
        return "recorded"

    lease = Lease(Ended(), SHORT)
    over = asyncio.Event()
    lease.start(over.set)
    assert await lease.last(record) == "recorded"
    await asyncio.sleep(SHORT.lease_seconds)
    assert (over.is_set(), lease.ended) == (False, None)
    await lease.stop()


async def test_an_event_loop_that_stood_still_for_longer_than_the_lease_loses_nothing_that_is_still_ours():
    class Slow:
        asked = 0

        async def renew(self, _attempt) -> Renewal:
            self.asked += 1
            # A connection that is opened anew takes more than an instant.
            await asyncio.sleep(0.02)
            return Renewal(cancel=False)

    repository = Slow()
    lease = Lease(repository, SHORT)
    over = asyncio.Event()
    lease.start(over.set)
    await asyncio.sleep(0)
    time.sleep(2 * SHORT.lease_seconds)  # noqa: ASYNC251 - this is what stands still
    asked = repository.asked
    async with asyncio.timeout(5):
        while repository.asked < asked + 3:
            await asyncio.sleep(0.01)
    assert (over.is_set(), lease.ended) == (False, None)
    await lease.stop()


async def test_tools_outlast_an_outage_that_is_longer_than_the_short_lease():
    both = replace(SHORT, lease_seconds=0.1, long_lease_seconds=30.0)
    repository = Answers(DatabaseUnavailable("away"))
    lease = Lease(repository, both)
    over = asyncio.Event()
    lease.start(over.set)
    async with asyncio.timeout(5):
        while repository.asked < 12:
            await asyncio.sleep(0.01)
    assert not over.is_set()
    repository.answers = [Renewal(cancel=False)]
    await lease.confirm()
    await lease.stop()
