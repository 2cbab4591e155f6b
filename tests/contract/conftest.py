"""What the contract suites run on: each implementation of a port under the same tests."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

sys.path.insert(0, str(Path(__file__).parent))

import postgres_server

from infra.migrations import upgrade
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.schema import jobs, moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    with postgres_server.running() as server:
        yield server


@dataclass
class Bench:
    """A repository under test, and the hands that a test needs behind its back."""

    repository: SqlRepository
    url: str

    async def expire(self, job_id: str) -> None:
        """Let the lease of a job run out without waiting for it."""
        await self._set(job_id, lease_until=moment(-0.001))

    async def come_due(self, job_id: str) -> None:
        """Let the delay of a job pass without waiting for it."""
        await self._set(job_id, not_before=moment(-0.001))

    async def _set(self, job_id: str, **values: object) -> None:
        def work(connection) -> None:
            connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**values))

        await self.repository._database.write(work)

    async def column(self, job_id: str, name: str):
        def work(connection):
            return (connection.execute(select(jobs.c[name]).where(jobs.c.job_id == job_id))).scalar_one()

        return await self.repository._database.read(work)


def fresh_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of an empty database."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'new folder' / 'leveret.db'}"
    return str(request.getfixturevalue("postgres").url())


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request, tmp_path) -> str:
    return fresh_url(request.param, request, tmp_path)


@pytest.fixture
def url(empty_url) -> str:
    upgrade(empty_url)
    return empty_url


@pytest.fixture
async def bench(url) -> AsyncIterator[Bench]:
    repository = SqlRepository(url)
    yield Bench(repository, url)
    await repository.close()


@pytest.fixture
def repository(bench) -> SqlRepository:
    return bench.repository
