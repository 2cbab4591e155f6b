"""Schedules in the database, on SQLite and on PostgreSQL: one server at a time runs each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import schedules

DOCUMENT = {"cron": "0 3 * * *", "template": "film", "sources": ["nas://in"]}
PAST = datetime(2026, 1, 1, tzinfo=UTC)


async def expire(repository, name: str) -> None:
    def work(connection) -> None:
        connection.execute(update(schedules).where(schedules.c.name == name).values(lease_until=moment(-1)))

    await repository._database.write(work)


async def test_one_server_claims_a_due_schedule(repository):
    assert await repository.claim_schedule("a", 30) is None
    await repository.put_schedule("late", DOCUMENT, PAST)
    await repository.put_schedule("later", DOCUMENT, PAST + timedelta(days=1))
    await repository.put_schedule("future", DOCUMENT, datetime.now(UTC) + timedelta(days=1))
    await repository.put_schedule("off", DOCUMENT, None)
    claimed = await asyncio.gather(*(repository.claim_schedule(f"server {number}", 30) for number in range(4)))
    assert sorted(one.name for one in claimed if one) in (["late"], ["late", "later"])
    while await repository.claim_schedule("server 9", 30):
        pass
    assert {one.name for one in await repository.schedules() if one.owner} == {"late", "later"}


async def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_changes_nothing(repository):
    await repository.put_schedule("nightly", DOCUMENT, PAST)
    assert (await repository.claim_schedule("a", 30)).owner == "a"
    assert await repository.renew_schedule("nightly", "a", 30)
    assert await repository.claim_schedule("b", 30, "nightly") is None
    await expire(repository, "nightly")
    assert (await repository.claim_schedule("b", 30)).owner == "b"
    assert not await repository.renew_schedule("nightly", "a", 30)
    due = datetime(2030, 1, 1, tzinfo=UTC)
    assert not await repository.finish_schedule("nightly", "a", due, "a")
    assert await repository.finish_schedule("nightly", "b", due, "3 submitted")
    (stored,) = await repository.schedules()
    assert (stored.next_at, stored.last_outcome, stored.owner) == (due, "3 submitted", None)
    assert stored.last_at is not None
    again = await repository.put_schedule("nightly", DOCUMENT | {"limit": 3}, PAST)
    assert (again.next_at, again.last_outcome) == (PAST, "3 submitted")
    assert await repository.delete_schedule("nightly")
    assert not await repository.delete_schedule("nightly")


async def test_a_schedule_that_is_replaced_while_it_runs_loses_its_lease_and_keeps_its_new_time(repository):
    await repository.put_schedule("nightly", DOCUMENT, PAST)
    await repository.claim_schedule("a", 30)
    due = datetime(2031, 1, 1, tzinfo=UTC)
    await repository.put_schedule("nightly", DOCUMENT, due)
    assert not await repository.renew_schedule("nightly", "a", 30)
    assert not await repository.finish_schedule("nightly", "a", PAST, "late")
    assert (await repository.schedules())[0].next_at == due
