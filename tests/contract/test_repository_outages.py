"""A database that is away, hung, locked or full: each is one clear error, in time, and what was committed stays."""

import asyncio
import resource
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, make_url, select, text

from tests.support.databases import engine_of, provision
from tests.support.repositories import FAILURE, POLICY, granted, job, request
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.database import Database
from worker.adapters.sql.database.durability import Durability
from worker.adapters.sql.database.sqlite import Sqlite
from worker.adapters.sql.database.statements import OneStatement
from worker.core.attempt import Result
from worker.core.errors import DatabaseUnavailable, Infrastructure, LeveretError, Misconfigured
from worker.core.ports import Granted


async def test_a_database_that_nobody_serves_is_unavailable_at_once():
    repository = SqlRepository("postgresql://u:p4ss@127.0.0.1:1/d")
    before = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as caught:
        await repository.check()
    assert time.monotonic() - before < 2
    assert "p4ss" not in str(caught.value)
    await repository.close()


async def test_a_hung_database_is_unavailable_in_time_and_used_again_when_it_goes_on(postgres):
    url = postgres.provisioned_database()
    repository = SqlRepository(url, answer_seconds=1.0)
    attempt = await granted(repository)
    postgres.services.pause("postgres")
    try:
        for _ in range(3):
            before = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="did not answer within 1 s"):
                await repository.renew(attempt)
            assert time.monotonic() - before < 2
    finally:
        postgres.services.resume("postgres")
    await repository.renew(attempt)
    await repository.close()


async def test_connections_that_were_cut_while_idle_are_replaced_unseen(postgres):
    url = postgres.provisioned_database()
    repository = SqlRepository(url)
    attempt = await granted(repository)
    await asyncio.gather(*(repository.renew(attempt) for _ in range(4)))
    name = url.rpartition("/")[2]
    postgres.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
    await repository.renew(attempt)
    postgres.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
    other = await granted(repository, a_job=job("j2"))
    postgres.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
    await repository.complete(other, Result(()))
    assert (await repository.job("j2")).state == "completed"
    await repository.close()


async def test_a_claim_that_is_given_up_leaves_no_connection_at_work_and_the_next_one_is_granted(postgres):
    url = postgres.provisioned_database()
    repository = SqlRepository(url, answer_seconds=1.0)
    await granted(repository)
    engine = engine_of(url)
    with engine.connect() as other, other.begin():
        other.execute(text("LOCK TABLE jobs"))
        claims = [repository.claim(request(job(name)), POLICY) for name in ("j2", "j3")]
        assert [type(end) for end in await asyncio.gather(*claims, return_exceptions=True)] == [DatabaseUnavailable] * 2
    assert [(await granted(repository, a_job=job(name))).number for name in ("j2", "j3")] == [1, 1]
    await repository.close()
    only_ours = text("SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()")
    with engine.connect() as other:
        # a server ends what serves a connection a moment after the connection
        async with asyncio.timeout(30):
            while not other.execute(only_ours).scalar_one():
                other.rollback()
                await asyncio.sleep(0.02)
    engine.dispose()


async def test_on_postgresql_a_first_claim_alone_does_not_wait_for_the_disk(postgres, monkeypatch):
    repository = SqlRepository(postgres.provisioned_database())
    database = repository._database
    commits = []
    write_one = database.write_one

    async def noted(one, durability=Durability.FULL):
        (setting,) = await write_one(OneStatement(select(func.current_setting("synchronous_commit")), {}), durability)
        commits.append(setting)
        return await write_one(one, durability)

    monkeypatch.setattr(database, "write_one", noted)
    await repository.complete(await granted(repository), Result())
    assert commits == ["off", "on"]
    await repository.close()


async def test_a_statement_that_ends_after_its_database_was_closed_leaves_no_connection(postgres):
    database = Database(postgres.provisioned_database())
    await database.close()
    one = OneStatement(select(func.current_setting("synchronous_commit")), {})
    assert await database.write_one(one) == ("on",)
    assert not database._alone._alone._idle
    await database.close()


async def test_a_claim_that_the_database_refuses_is_reported_without_its_values(postgres):
    repository = SqlRepository(postgres.provisioned_database())
    bad = request(job(), lease_seconds=1e300)
    with pytest.raises(LeveretError, match="refused a statement") as caught:
        await repository.claim(bad, POLICY)
    assert "geheim" not in str(caught.value)
    assert isinstance(await repository.claim(request(), POLICY), Granted)
    await repository.close()


async def test_a_database_that_restarts_is_unavailable_and_then_goes_on(postgres):
    url = postgres.provisioned_database()
    repository = SqlRepository(url)
    attempt = await granted(repository)
    # What was committed before an announcement is on the disk with it; a first claim alone may not be.
    await repository.announce(attempt, ["file:///a.mkv"])
    await asyncio.to_thread(postgres.services.kill, "postgres")
    with pytest.raises(DatabaseUnavailable):
        await repository.renew(attempt)
    await asyncio.to_thread(postgres.services.start, "postgres")
    await repository.renew(attempt)
    assert (await repository.job("j1")).state == "publishing"
    await repository.close()


async def test_a_locked_row_is_unavailable_in_time(postgres):
    url = postgres.provisioned_database()
    repository = SqlRepository(url, answer_seconds=1.0)
    attempt = await granted(repository)
    engine = engine_of(url)
    with engine.connect() as other, other.begin():
        other.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
        with pytest.raises(DatabaseUnavailable):
            await repository.renew(attempt)
    engine.dispose()
    await repository.renew(attempt)
    await repository.close()


async def test_an_sqlite_file_that_another_program_writes_is_waited_for_and_then_unavailable(tmp_path):
    url = provision(tmp_path / "x.db")
    repository = SqlRepository(url, answer_seconds=1.0)
    await repository.submit(job(), "d" * 64, "cpu", "normal")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert (await repository.job("j1")).state == "queued", "readers do not wait for a writer"
    with pytest.raises(DatabaseUnavailable):
        await repository.claim(request(), POLICY)
    other.execute("ROLLBACK")
    other.close()
    assert isinstance(await repository.claim(request(), POLICY), Granted)
    await repository.close()


async def test_an_sqlite_file_that_stays_locked_is_no_fault_of_ours_and_leaves_the_writer_usable(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.adapters.sql.database.sqlite._BUSY_SECONDS", 0.2)
    url = provision(tmp_path / "x.db")
    repository = SqlRepository(url)
    attempt = await granted(repository)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match="locked"):
            await repository.renew(attempt)
    other.execute("ROLLBACK")
    other.close()
    await repository.renew(attempt)
    await repository.close()


def held_open(folder):
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [str(path) for path in links if path.is_relative_to(folder)]


async def test_a_closed_sqlite_database_keeps_no_file_open(tmp_path):
    url = provision(tmp_path / "x.db")
    repository = SqlRepository(url)
    await repository.renew(await granted(repository))
    await repository.close()
    await repository.close()
    assert held_open(tmp_path) == []


async def test_a_disk_that_is_full_for_a_while_leaves_the_writer_usable(tmp_path):
    url = provision(tmp_path / "x.db")
    repository = SqlRepository(url)
    await repository.renew(attempt := await granted(repository))
    large = job("j2", facts={"x": "x" * 100_000})
    size = (tmp_path / "x.db-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await repository.submit(large, "e" * 64, "cpu", "normal")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await repository.renew(attempt)
    assert (await repository.job("j2")) is None
    await repository.close()


async def test_sqlite_syncs_all_commits_but_signs_of_life_and_watches_foreign_keys(tmp_path):
    url = provision(tmp_path / "x.db")
    repository = SqlRepository(url)

    def pragmas(connection):
        return tuple(
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        )

    full, normal = 2, 1
    assert await repository._database.write(pragmas) == ("wal", full, 1)
    assert await repository._database.write_relaxed(pragmas) == ("wal", normal, 1)
    assert await repository._database.write_many(1, pragmas) == ("wal", full, 1)
    await repository.close()


async def test_committed_rows_survive_a_kill_of_the_process(url):
    code = (
        "import asyncio, os, signal, sys; sys.path.insert(0, '.')\n"
        "from tests.support.repositories import granted\n"
        "from worker.adapters.sql import SqlRepository\n"
        "from worker.core.attempt import Result\n"
        "async def main():\n"
        "    repository = SqlRepository(sys.argv[1])\n"
        "    await repository.complete(await granted(repository), Result())\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, url, cwd=Path(__file__).parents[2])
    assert await process.wait() == -9
    repository = SqlRepository(url)
    assert (await repository.job("j1")).state == "completed"
    await repository.close()


async def test_a_caller_that_is_cancelled_leaves_the_database_usable(repository):
    attempt = await granted(repository)
    for _ in range(20):
        task = asyncio.create_task(repository.renew(attempt))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await repository.retry_later(attempt, FAILURE, 0.0)
    assert (await granted(repository)).number == 2


async def test_a_statement_that_the_database_refuses_is_no_outage_and_shows_no_values(repository):
    def orphan(connection):
        connection.execute(
            text("INSERT INTO attempts (job_id, worker) VALUES (:job_id, :job_id)"), {"job_id": "geheim"}
        )

    with pytest.raises(LeveretError, match="refused a statement") as caught:
        await repository._database.write(orphan)
    assert not isinstance(caught.value, Infrastructure | Misconfigured)
    assert "INSERT" not in str(caught.value)
    assert "geheim" not in str(caught.value)
    await repository.submit(job(), "d" * 64, "cpu", "normal")


@pytest.mark.parametrize("durability", [Durability.NONE, Durability.FULL])
async def test_what_is_under_way_when_an_sqlite_database_is_closed_closes_its_connection(tmp_path, durability):
    backend = Sqlite(make_url(f"sqlite:///{tmp_path / 'x.db'}"), 1.0)
    opened, begun, ends = [], threading.Event(), threading.Event()

    def work(connection):
        opened.append(connection.connection.dbapi_connection)
        begun.set()
        ends.wait(10)

    under_way = backend.begin(work, durability, 10.0)
    assert await asyncio.to_thread(begun.wait, 10)
    closed = asyncio.create_task(backend.close())
    await asyncio.sleep(0)
    ends.set()
    await asyncio.gather(under_way, closed)
    # Python 3.13 complains of a connection that only the collector closes
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        opened[0].execute("SELECT 1")
