"""Scans in the database, on SQLite and on PostgreSQL: one server at a time runs each."""

from __future__ import annotations

import asyncio

from sqlalchemy import update

from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import scans

DOCUMENT = {"template": "film", "source": "nas://in"}


async def expire(repository, scan_id: str) -> None:
    def work(connection) -> None:
        connection.execute(update(scans).where(scans.c.scan_id == scan_id).values(lease_until=moment(-1)))

    await repository._database.write(work)


async def test_the_oldest_scan_is_claimed_by_one_and_ends_with_what_it_found(repository):
    assert await repository.claim_scan("a", 30) is None
    first = await repository.add_scan("first", DOCUMENT, 2)
    assert (first.state, first.runs, first.progress, first.result) == ("waiting", 0, {}, None)
    assert await repository.add_scan("second", DOCUMENT, 2) is not None
    assert await repository.add_scan("third", DOCUMENT, 2) is None
    claimed = await asyncio.gather(*(repository.claim_scan(f"server {number}", 30) for number in range(4)))
    names = [one.scan_id for one in claimed if one]
    assert names in (["first"], ["first", "second"], ["second", "first"])
    mine = next(one for one in claimed if one and one.scan_id == "first")
    assert (mine.state, mine.runs) == ("running", 1)
    assert await repository.renew_scan("first", mine.owner, 30, {"files": 3})
    assert (await repository.scan("first")).progress == {"files": 3}
    assert await repository.finish_scan("first", mine.owner, {"files": 5}, None, 10)
    ended = await repository.scan("first")
    assert (ended.state, ended.result, ended.owner) == ("completed", {"files": 5}, None)
    assert ended.started_at <= ended.ended_at
    assert {one.scan_id: one.result for one in await repository.scans(10)} == {"first": None, "second": None}


async def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_changes_nothing(repository):
    await repository.add_scan("one", DOCUMENT, 10)
    assert (await repository.claim_scan("a", 30)).owner == "a"
    assert await repository.claim_scan("b", 30) is None
    await expire(repository, "one")
    taken = await repository.claim_scan("b", 30)
    assert (taken.owner, taken.runs) == ("b", 2)
    assert not await repository.renew_scan("one", "a", 30, {"files": 9})
    assert not await repository.finish_scan("one", "a", {"files": 9}, None, 10)
    assert await repository.finish_scan("one", "b", None, "nas://in does not exist", 10)
    assert ((await repository.scan("one")).state, (await repository.scan("one")).problem) == (
        "failed", "nas://in does not exist",
    )  # fmt: skip
    assert not await repository.renew_scan("one", "b", 30, {})


async def test_a_scan_that_is_deleted_is_nobodys_and_old_ones_are_forgotten(repository):
    for number in range(4):
        await repository.add_scan(f"scan-{number}", DOCUMENT, 10)
        assert (await repository.claim_scan("a", 30)).scan_id == f"scan-{number}"
        if number < 3:
            await repository.finish_scan(f"scan-{number}", "a", {}, None, 2)
    assert {one.scan_id for one in await repository.scans(10)} == {"scan-1", "scan-2", "scan-3"}
    assert await repository.delete_scan("scan-3")
    assert not await repository.delete_scan("scan-3")
    assert not await repository.renew_scan("scan-3", "a", 30, {})
    assert not await repository.finish_scan("scan-3", "a", {}, None, 2)
    assert await repository.scan("scan-3") is None
