"""One job of an SQLite file without SQLAlchemy: the same answers as the stores give, and theirs for what is unusual."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import JSON

from tests.support.databases import provision
from tests.support.repositories import job
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.quick import DOCUMENTS, MOMENTS, QuickLookups
from worker.adapters.sql.records import WHOLE_COLUMNS
from worker.adapters.sql.schema import Moment, artifacts, attempts, jobs, workers
from worker.core.errors import LeveretError, Misconfigured
from worker.core.listing import JobFilter
from worker.core.record import ArtifactRecord, AttemptRecord, WorkerRecord


@pytest.fixture
async def file(tmp_path):
    """Return a database with two jobs."""
    url = provision(tmp_path / "rows.db")
    repository = SqlRepository(url)
    for job_id in ("film-1", "film-2"):
        await repository.submit(job(job_id), "0" * 64, "cpu", "normal")
    await repository.close()
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
async def lookups(file):
    lookups = QuickLookups(file)
    yield lookups
    await lookups.close()


def has_asked_the_stores(lookups):
    return lookups._opened is not None


async def test_a_job_its_prefix_and_the_fleet_are_read_without_the_stores(lookups):
    await lookups.check()
    assert (await lookups.job("film-1")).state == "queued"
    assert await lookups.job("film-3") is None
    assert await lookups.ids("film", 5) == ["film-1", "film-2"]
    assert await lookups.workers(15) == []
    assert not has_asked_the_stores(lookups)


async def test_lists_and_logs_come_from_the_stores(lookups):
    page = await lookups.page(JobFilter(), 10)
    assert {record.job_id for record in await lookups.with_details(page.jobs)} == {"film-1", "film-2"}
    assert await lookups.log("film-1") is None


async def test_a_database_at_another_revision_is_refused_in_the_words_of_the_stores(file, lookups):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(Misconfigured, match="at revision 0001, this worker needs"):
        await lookups.check()


async def test_a_value_that_cannot_be_read_is_refused_in_the_words_of_the_stores(file, lookups):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE jobs SET facts = 'no JSON'")
    with pytest.raises((LeveretError, ValueError)):
        await lookups.job("film-1")
    assert has_asked_the_stores(lookups)


async def test_a_file_that_is_no_database_is_refused_in_the_words_of_the_stores(tmp_path):
    (tmp_path / "rows.db").write_bytes(b"no database" * 100)
    lookups = QuickLookups(tmp_path / "rows.db")
    with pytest.raises(Misconfigured, match="file is not a database"):
        await lookups.check()
    await lookups.close()


def test_every_column_is_read_as_its_type_says():
    read = [jobs.c[name] for name in WHOLE_COLUMNS]
    for table, model in ((attempts, AttemptRecord), (artifacts, ArtifactRecord), (workers, WorkerRecord)):
        read += [table.c[name] for name in model.model_fields]
    assert {column.name for column in read if isinstance(column.type, Moment)} == MOMENTS
    assert {column.name for column in read if isinstance(column.type, JSON)} == DOCUMENTS
