"""What the contract suites run on: each implementation of a port under the same tests."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import delete, select, update

from infra.local import LocalServices
from infra.migrations import upgrade
from tests.support.databases import provision
from worker.adapters.sql import SqlRepository, quick
from worker.adapters.sql.schema import attempts, jobs, moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from worker.core.record import JobRecord, WorkerRecord


class Postgres:
    """A private server, and empty databases on it."""

    def __init__(self, services: LocalServices) -> None:
        self.services = services

    @property
    def address(self) -> str:
        return self.services.environment("postgres")["WORKER_DATABASE_URL"].rpartition("/")[0]

    def empty_database(self) -> str:
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return f"{self.address}/{name}"

    def provisioned_database(self) -> str:
        """Return the URL of a database as the migrations make it, with an identity of its own."""
        template = self._template()
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = f"{self.address}/{name}"
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute("UPDATE identity SET identity = %s", (secrets.token_hex(16),))
        return url

    @cache  # noqa: B019 - one per session
    def _template(self) -> str:
        """Return the name of a provisioned database that nobody uses."""
        url = self.empty_database()
        upgrade(url)
        return url.rpartition("/")[2]

    def execute(self, statement: str) -> None:
        with psycopg.connect(f"{self.address}/postgres", autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    services = LocalServices(tmp_path_factory.mktemp("postgres"))
    services.up(("postgres",))
    yield Postgres(services)
    services.down(purge=True)


class ReadTwice(SqlRepository):
    """A repository in an SQLite file each of whose jobs and fleets is read by `QuickLookups` too, with one result."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"sqlite:///{file}")
        self._file = file

    async def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record, read both ways."""
        record = await super().job(job_id)
        with self._quickly() as connection:
            assert quick.read_job(connection, job_id) == record
        return record

    async def ids(self, prefix: str, limit: int) -> list[str]:
        """Return ids that begin with `prefix`, read both ways."""
        found = await super().ids(prefix, limit)
        with self._quickly() as connection:
            assert quick.read_ids(connection, prefix, limit) == found
        return found

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return the workers, read both ways."""
        found = await super().workers(offline_after)
        with self._quickly() as connection:
            assert quick.read_workers(connection, offline_after) == found
        return found

    def _quickly(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self._file))


@dataclass
class Bench:
    """A repository under test, and what a test does to it from outside."""

    repository: SqlRepository
    url: str

    async def expire(self, job_id: str) -> None:
        """Let the lease of a job run out without waiting for it."""
        await self.set(job_id, lease_until=moment(-0.001))

    async def come_due(self, job_id: str) -> None:
        """Let the delay of a job pass without waiting for it."""
        await self.set(job_id, not_before=moment(-0.001))

    async def take_back(self, job_id: str) -> None:
        """Remove the rows of a job, as a power cut does with what was written last."""

        def work(connection) -> None:
            for table in (attempts, jobs):
                connection.execute(delete(table).where(table.c.job_id == job_id))

        await self.repository._database.write(work)

    async def set(self, job_id: str, **values: object) -> None:
        def work(connection) -> None:
            connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**values))

        await self.repository._database.write(work)

    async def set_column(self, job_id: str, name: str, value):
        def work(connection):
            connection.execute(update(jobs).where(jobs.c.job_id == job_id).values({name: value}))

        await self.repository._database.write(work)

    async def column(self, job_id: str, name: str):
        def work(connection):
            return (connection.execute(select(jobs.c[name]).where(jobs.c.job_id == job_id))).scalar_one()

        return await self.repository._database.read(work)


@pytest.fixture(params=["sqlite", "postgres"])
def kind_of_database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(kind_of_database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables."""
    if kind_of_database == "sqlite":
        return f"sqlite:///{tmp_path / 'new folder' / 'leveret.db'}"
    return str(request.getfixturevalue("postgres").empty_database())


@pytest.fixture
def url(kind_of_database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a provisioned database without rows."""
    if kind_of_database == "sqlite":
        return provision(tmp_path / "new folder" / "leveret.db")
    return str(request.getfixturevalue("postgres").provisioned_database())


@pytest.fixture
async def bench(url) -> AsyncIterator[Bench]:
    scheme, _, file = url.partition(":///")
    repository = ReadTwice(Path(file)) if scheme == "sqlite" else SqlRepository(url)
    yield Bench(repository, url)
    await repository.close()


@pytest.fixture
def repository(bench) -> SqlRepository:
    return bench.repository


@pytest.fixture
def bench_of() -> type[Bench]:
    """Return the bench for a test that runs its own event loop."""
    return Bench
