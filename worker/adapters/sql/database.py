"""One database behind one URL: its connections, its transactions, and how long we wait for it."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from worker.adapters.sql.errors import database_errors
from worker.core.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import URL, Connection, Table

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that a call may take before the database counts as away."""
_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_BUSY_SECONDS: Final = 4.0
_WRITES: Final = "leveret_writes"


class Database:
    """Runs work in transactions; foreign errors leave it as ours, and none of its calls waits for ever."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self._url = _driver_url(url)
        self._patience = patience
        self._running: set[asyncio.Task[Any]] = set()
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self.place = self._url.database or "memory" if self.is_sqlite else _address(self._url)
        self._engine = create_async_engine(
            self._url,
            connect_args=_sqlite_arguments() if self.is_sqlite else _postgresql_arguments(),
            # A connection that was cut while idle is noticed before it is used, and replaced.
            pool_pre_ping=not self.is_sqlite,
            pool_size=4,
            max_overflow=8,
            pool_timeout=patience,
            json_serializer=_json,
            # Statements carry values of jobs: no error text may.
            hide_parameters=True,
        )
        if self.is_sqlite:
            _make_folder(self._url)
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)

    async def read(
        self, work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what `work` returns, run in a transaction that reads."""
        return await self._bounded(lambda connection: work(connection, *args, **kwargs), self._patience, writes=False)

    async def write(
        self, work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what `work` returns, run in a transaction that is committed when it returns."""
        return await self._bounded(lambda connection: work(connection, *args, **kwargs), self._patience, writes=True)

    async def write_many(self, rows: int, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return like `write`, with more patience for `rows` rows."""
        return await self._bounded(work, self._patience + rows / 500, writes=True)

    async def close(self) -> None:
        """Close every connection, after the work that is still under way."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._patience)
        await self._engine.dispose()

    async def _bounded(self, work: Callable[[AsyncConnection], Awaitable[T]], patience: float, *, writes: bool) -> T:
        """Return what `work` returns, or raise in time.

        The work has a task of its own: a caller that is cancelled leaves it to its end, so that no connection is
        torn in the middle of a statement; and a driver that is stuck in its own clean-up (psycopg waits up to
        ten seconds for a stopped server to confirm a cancellation) does not hold the caller.
        """
        task = asyncio.create_task(self._run(work, patience, writes=writes))
        self._running.add(task)
        task.add_done_callback(self._ended)
        with database_errors(self.place, self._url.password, patience):
            done, _ = await asyncio.wait({task}, timeout=patience + 0.5)
            if not done:
                raise TimeoutError
            return task.result()

    async def _run(self, work: Callable[[AsyncConnection], Awaitable[T]], patience: float, *, writes: bool) -> T:
        async with asyncio.timeout(patience), self._engine.connect() as connection:
            if self.is_sqlite:
                await connection.execution_options(**{_WRITES: writes})
            async with connection.begin():
                return await work(connection)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        # Looked at, so that asyncio does not complain of an error that a gone caller never saw.
        if not task.cancelled():
            task.exception()


def upsert(connection: AsyncConnection, table: Table) -> Any:
    """Return an INSERT into `table` that knows ON CONFLICT, which both databases spell alike."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _driver_url(url: str) -> URL:
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in _DRIVERS:
        raise Misconfigured(
            "WORKER_DATABASE_URL is sqlite:///path or postgresql://user:password@host/name"
            f"; it begins with {scheme[:20]!r}"
        )
    try:
        return make_url(f"{_DRIVERS[scheme]}:{rest}")
    except (ArgumentError, ValueError) as error:
        raise Misconfigured("WORKER_DATABASE_URL is no URL that a database could have") from error


def _address(url: URL) -> str:
    return f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"


def _make_folder(url: URL) -> None:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Misconfigured(
                f"the folder {folder} of the database cannot be made: {error.strerror}; see WORKER_DATABASE_URL"
            ) from error


def _sqlite_arguments() -> dict[str, Any]:
    return {"timeout": _BUSY_SECONDS}


def _postgresql_arguments() -> dict[str, Any]:
    """Return how libpq connects: every way to wait has an end.

    The kernel gives up a connection whose peer is silent (`tcp_user_timeout`, milliseconds, and keepalives);
    the server gives up statements, locks and transactions that a stopped worker left open.
    """
    limits = {
        "statement_timeout": "4s",
        "lock_timeout": "3s",
        "idle_in_transaction_session_timeout": "10s",
        "timezone": "UTC",
    }
    return {
        "connect_timeout": 4,
        "application_name": "leveret",
        "tcp_user_timeout": 5000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
    }


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, deferred and only before some statements: `_begin_sqlite`
    # says what is wanted.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads first and writes then fails at once when another one wrote in between,
    # whatever the busy time-out; an immediate one waits at its beginning.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _json(value: object) -> str:
    """Return `value` as JSON that both databases take: no NaN, and words for what JSON cannot say."""
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), default=str)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value
