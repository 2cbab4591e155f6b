"""What tools said, kept an attempt, the same on both databases."""

import zlib

from sqlalchemy import update

from tests.support.repositories import granted, job
from worker.adapters.sql.jobs.logs import KEPT_ATTEMPTS
from worker.adapters.sql.schema import job_logs, moment
from worker.core.attempt import Result


async def test_a_log_is_replaced_while_it_grows_and_ends_with_its_attempt(repository):
    attempt = await granted(repository)
    assert await repository.log("j1") is None
    await repository.store_log(attempt, zlib.compress(b"one\n"))
    await repository.store_log(attempt, zlib.compress("one\ntwö\n".encode()))
    found = await repository.log("j1")
    assert (found.text, found.epoch, found.number, found.worker, found.ended) == ("one\ntwö\n", 1, 1, "w1", False)
    await repository.complete(attempt, Result())
    assert (await repository.log("j1")).ended


async def test_every_attempt_has_a_log_of_its_own_and_only_the_newest_ones_are_kept(repository):
    for number in range(KEPT_ATTEMPTS + 2):
        attempt = await granted(repository)
        await repository.store_log(attempt, zlib.compress(f"epoch {attempt.epoch}\n".encode()))
        await repository.release(attempt, "interrupted", f"the {number}th time")
    assert (await repository.log("j1")).text == f"epoch {KEPT_ATTEMPTS + 2}\n"
    # All of them were attempt 1: nobody was charged.
    assert (await repository.log("j1", 1)).epoch == KEPT_ATTEMPTS + 2
    assert await repository.log("j1", 2) is None
    rows = await repository._database.read(lambda connection: connection.execute(job_logs.select()).all())
    assert sorted(row.epoch for row in rows) == list(range(3, KEPT_ATTEMPTS + 3))


async def test_old_logs_are_forgotten_and_new_ones_stay(repository):
    for name in ("old", "new"):
        attempt = await granted(repository, a_job=job(name))
        await repository.store_log(attempt, zlib.compress(b"text\n"))

    def age(connection):
        connection.execute(update(job_logs).where(job_logs.c.job_id == "old").values(updated_at=moment(-100)))

    await repository._database.write(age)
    assert await repository.forget_logs(50) == 1
    assert await repository.log("old") is None
    assert (await repository.log("new")).text == "text\n"
