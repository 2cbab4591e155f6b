"""The database's schema, step by step, for SQLite and PostgreSQL.

`upgrade` brings a database to the newest revision; repeating it changes nothing. The steps know nothing of
the worker's code, which moves on while they must stay as they are.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError, StatementError

from worker.core.errors import DatabaseUnavailable, LeveretError, Misconfigured
from worker.core.redaction import redact

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

_LOCK: Final = 0x6C657665
"""PostgreSQL's advisory lock that two migrations at once would meet at: "leve" in ASCII."""
_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_SECONDS: Final = 30
_REFUSALS: Final = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "readonly",
    "no password supplied",
)


def head() -> str:
    """Return the newest revision."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise Misconfigured("this installation has no migrations")
    return newest


def upgrade(database_url: str) -> None:
    """Bring the database to the newest revision, all of it or nothing.

    The folder of an SQLite file is made. Two upgrades at once wait for each other. Raises DatabaseUnavailable
    where the database does not answer, else Misconfigured; neither shows the password.
    """
    url = _driver_url(database_url)
    config = _config()
    try:
        engine = _engine(url)
        try:
            with engine.begin() as connection:
                if not _is_sqlite(url):
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        finally:
            engine.dispose()
    except (SQLAlchemyError, CommandError, OSError) as error:
        raise _translated(error, url) from error


def identity(database_url: str) -> str:
    """Return which database this is: the random text that was written with its tables."""
    url = _driver_url(database_url)
    try:
        engine = _engine(url)
        try:
            with engine.begin() as connection:
                return str(connection.execute(text("SELECT identity FROM identity")).scalar_one())
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise _translated(error, url) from error


def _config() -> Config:
    config = Config()
    # Alembic reads % as its own interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _driver_url(database_url: str) -> URL:
    scheme, colon, rest = database_url.partition(":")
    if not colon or scheme not in _DRIVERS:
        raise Misconfigured(f"a database URL begins with sqlite: or postgresql:, not with {scheme[:20]!r}")
    try:
        return make_url(f"{_DRIVERS[scheme]}:{rest}")
    except (ArgumentError, ValueError) as error:
        raise Misconfigured("the database URL cannot be read") from error


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _engine(url: URL) -> Engine:
    if not _is_sqlite(url):
        limits = {"connect_timeout": 5, "options": f"-c lock_timeout={_SECONDS}s"}
        return create_engine(url, connect_args=limits, hide_parameters=True)
    if url.database:
        Path(url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Python's driver would commit before each DDL statement.
    connection.isolation_level = None
    end = time.monotonic() + _SECONDS
    while True:
        try:
            # Kept in the file: every later connection finds it.
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # The switch does not wait for another connection that makes it, whatever the busy time-out.
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _place(url: URL) -> str:
    return str(url.database) if _is_sqlite(url) else f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}"


def _translated(error: Exception, url: URL) -> LeveretError:
    """Return our error with the driver's last word: the statement and the password stay out of it."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    words = redact(" ".join(str(cause).split()), (url.password,) if url.password else ())
    message = f"the database at {_place(url)} cannot be migrated: {words[:500]}"
    refused = any(part in words for part in _REFUSALS)
    return (
        DatabaseUnavailable(message) if isinstance(error, OperationalError) and not refused else Misconfigured(message)
    )
