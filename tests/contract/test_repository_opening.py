"""A database that is behind, ahead, not ours or none at all: each is one clear error, before anything is done."""

import asyncio
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from infra.migrations import head, upgrade
from tests.support.databases import engine_of
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.revision import REVISION
from worker.adapters.sql.schema import metadata
from worker.core.errors import Misconfigured
from worker.core.listing import JobFilter

# ------------------------------------------------------------------ migrations


def test_the_worker_expects_the_newest_migration():
    assert head() == REVISION


def test_the_migrations_make_exactly_the_tables_that_the_worker_uses(url):
    engine = engine_of(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        made = {index for table in metadata.tables.values() for index in (i.name for i in table.indexes)}
        assert len(made) >= 10
    engine.dispose()


async def test_upgrading_again_changes_nothing_and_upgrades_at_once_wait_for_each_other(empty_url):
    code = "import sys; from infra.migrations import upgrade; upgrade(sys.argv[1])"
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, empty_url, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        for _ in range(3)
    ]
    said = [(await process.communicate())[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    await asyncio.to_thread(upgrade, empty_url)


async def test_an_empty_database_is_reported_with_the_command(empty_url):
    repository = SqlRepository(empty_url)
    with pytest.raises(Misconfigured, match=r"python -m infra provision"):
        await repository.check()
    with pytest.raises(Misconfigured, match=r"python -m infra provision"):
        await repository.page(JobFilter())
    await repository.close()


@pytest.mark.parametrize(("found", "words"), [("0000", "run `python -m infra provision`"), ("9999", "newer Leveret")])
async def test_a_database_at_another_revision_is_reported_with_what_to_do(url, found, words):
    repository = SqlRepository(url)
    await repository.check()
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    engine.dispose()
    with pytest.raises(Misconfigured) as caught:
        await repository.check()
    assert words in str(caught.value)
    assert found in str(caught.value)
    await repository.close()


# ------------------------------------------------------------------ not ours


async def refused(url):
    repository = SqlRepository(url)
    with pytest.raises(Misconfigured) as caught:
        await repository.check()
    await repository.close()
    return str(caught.value)


async def test_wrong_credentials_are_reported_without_the_password(postgres):
    good = postgres.empty_database()
    user, _, rest = good.removeprefix("postgresql://").partition(":")
    password, _, place = rest.partition("@")
    for bad in (
        f"postgresql://{user}:wr0ng-p4ss@{place}",
        f"postgresql://nobody:{password}@{place}",
        f"postgresql://{user}:{password}@{place}_missing",
    ):
        message = await refused(bad)
        assert "refused us" in message
        assert "WORKER_DATABASE_URL" in message
        assert "wr0ng-p4ss" not in message
        assert password not in message
        with pytest.raises(Misconfigured) as caught:
            await asyncio.to_thread(upgrade, bad)
        assert password not in str(caught.value)
        assert "wr0ng-p4ss" not in str(caught.value)


async def test_a_file_that_is_no_database_is_reported(tmp_path):
    (tmp_path / "x.db").write_bytes(b"this is a text, not a database" * 100)
    assert "file is not a database" in await refused(f"sqlite:///{tmp_path / 'x.db'}")


@pytest.mark.parametrize("url", ["mysql://u:p4ss@h/d", "nonsense", "postgresql://h:port/d", ""])
def test_a_url_that_is_none_is_reported_without_its_words(url):
    with pytest.raises(Misconfigured, match="WORKER_DATABASE_URL") as caught:
        SqlRepository(url)
    assert "p4ss" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be made"):
        SqlRepository(f"sqlite:///{tmp_path / 'file' / 'x' / 'y.db'}")
