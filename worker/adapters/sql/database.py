"""One database behind one URL: its connections, its transactions, and how long we wait for it."""

from __future__ import annotations

import asyncio
import json
import math
import select
import time
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar, cast

from sqlalchemy import ColumnElement, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.pool import QueuePool

from worker.adapters.sql.errors import database_errors
from worker.core.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import URL, Connection, CursorResult, Dialect, Insert, Table, Update
    from sqlalchemy.pool import ConnectionPoolEntry

    from worker.adapters.sql.answers import Answers

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_SECONDS: Final = 5.0
"""Seconds that a call may take before the database counts as away."""
_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_BUSY_SECONDS: Final = 4.0
_ENGINE: Final[dict[str, Any]] = {
    "pool_size": 4,
    "max_overflow": 8,
    # Statements carry values of jobs: no error text may.
    "hide_parameters": True,
}
_DURABILITY: Final = "leveret_durability"
_USED: Final = "leveret_used"
_RESTED_SECONDS: Final = 1.0


class Durability(Enum):
    """What a power cut may take back of a transaction: it writes nothing, may lose its commit, or never does."""

    NONE = auto()
    RELAXED = auto()
    FULL = auto()


class Database:
    """Runs work in transactions; foreign errors leave it as ours, and none of its calls waits for ever.

    Work is a plain function over a `Connection`. On PostgreSQL it runs on the event loop, SQLAlchemy switching to
    the loop at every wait of psycopg. On SQLite it runs whole in a thread: a hop for the transaction instead of
    three or four for each statement (every call of aiosqlite is one), which halves a claim.
    """

    def __init__(self, url: str, seconds: float = ANSWER_SECONDS, answers: Answers | None = None) -> None:
        """Reach the database at `url`; `answers` notes when it answers."""
        self._url = _driver_url(url)
        self._seconds = seconds
        self._answers = answers
        self._running: set[asyncio.Future[Any]] = set()
        self._place = str(self._url.database) if _is_sqlite(self._url) else _address(self._url)
        self._backend: _Sqlite | _Postgresql = (_Sqlite if _is_sqlite(self._url) else _Postgresql)(self._url, seconds)

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns, run in a transaction that reads."""
        return await self._bounded(lambda connection: work(connection, *args, **kwargs), self._seconds, Durability.NONE)

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns, run in a transaction that is committed when it returns."""
        return await self._bounded(lambda connection: work(connection, *args, **kwargs), self._seconds, Durability.FULL)

    async def write_relaxed(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return like `write`, without waiting for the disk: for signs of life, which the next one replaces.

        A crash of the program loses none of it; a power cut may take back the last of them.
        """
        return await self._bounded(
            lambda connection: work(connection, *args, **kwargs), self._seconds, Durability.RELAXED
        )

    async def write_alone(
        self, durability: Durability, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what `work` returns, which is one statement on PostgreSQL: it commits itself.

        So a claim, or an end, is one round trip there instead of four: begin, two statements, commit.
        """
        return await self._bounded(
            lambda connection: work(connection, *args, **kwargs), self._seconds, durability, alone=True
        )

    async def write_many(self, rows: int, work: Callable[[Connection], T]) -> T:
        """Return like `write`, with more time for `rows` rows."""
        return await self._bounded(work, self._seconds + rows / 500, Durability.FULL)

    @property
    def steady_seconds(self) -> float:
        """Return for how long the database has answered us without a gap; for ever where nobody notes it."""
        return math.inf if self._answers is None else self._answers.steady_seconds

    async def close(self) -> None:
        """Close every connection, after the work that is still under way."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._seconds)
        await self._backend.close()

    async def _bounded(
        self, work: Callable[[Connection], T], seconds: float, durability: Durability, *, alone: bool = False
    ) -> T:
        """Return what `work` returns, or raise in time.

        A caller that is cancelled leaves the work to its end, so that no connection is torn in the middle of a
        statement; and a driver that is stuck in its own clean-up (psycopg waits up to ten seconds for a stopped
        server to confirm a cancellation) does not hold the caller.
        """
        running = self._backend.begin(work, durability, seconds, alone=alone)
        self._running.add(running)
        running.add_done_callback(self._ended)
        with database_errors(self._place, self._url.password, seconds):
            done, _ = await asyncio.wait({running}, timeout=seconds + 0.5)
            if not done:
                raise TimeoutError
            result = running.result()
        if self._answers is not None:
            self._answers.note()
        return result

    def _ended(self, running: asyncio.Future[Any]) -> None:
        self._running.discard(running)
        # Looked at, so that asyncio does not complain of an error that a gone caller never saw.
        if not running.cancelled():
            running.exception()


class _Postgresql:
    """psycopg's connections, on the event loop."""

    def __init__(self, url: URL, seconds: float) -> None:
        # It brings the whole ORM: a fifth of a second that commands over SQLite do without.
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        self._engine = create_async_engine(
            url,
            connect_args=_postgresql_arguments(),
            pool_timeout=seconds,
            json_serializer=_json,
            **_ENGINE,
        )
        event.listen(self._engine.sync_engine, "checkin", _note_use)
        event.listen(self._engine.sync_engine, "checkout", partial(_ask_if_doubtful, self._engine.dialect))
        self._committing = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def begin(
        self, work: Callable[[Connection], T], durability: Durability, seconds: float, *, alone: bool
    ) -> asyncio.Future[T]:
        """Begin `work` in a transaction; readers and writers do not wait for each other here."""
        del durability
        return asyncio.create_task(self._run(work, seconds, alone=alone))

    async def _run(self, work: Callable[[Connection], T], seconds: float, *, alone: bool) -> T:
        transaction = self._committing.connect() if alone else self._engine.begin()
        async with asyncio.timeout(seconds), transaction as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()


class _Sqlite:
    """SQLite's connections, each call in a thread."""

    def __init__(self, url: URL, seconds: float) -> None:
        _make_folder(url)
        self._engine = create_engine(
            url,
            connect_args={"timeout": _BUSY_SECONDS},
            poolclass=QueuePool,
            pool_timeout=seconds,
            json_serializer=_json,
            **_ENGINE,
        )
        event.listen(self._engine, "connect", _prepare_sqlite)
        event.listen(self._engine, "begin", _begin_sqlite)
        self._readers = ThreadPoolExecutor(_ENGINE["pool_size"] - 1, "leveret-sqlite")
        # SQLite has one writer, and those who wait for it sleep up to 100 ms between two looks: ours queue instead.
        self._writer = ThreadPoolExecutor(1, "leveret-sqlite-writer")
        self._writing: Connection | None = None

    def begin(
        self, work: Callable[[Connection], T], durability: Durability, seconds: float, *, alone: bool
    ) -> asyncio.Future[T]:
        """Begin `work` in a transaction, as soon as a thread is free; one of ours writes at a time."""
        del alone
        threads = self._readers if durability is Durability.NONE else self._writer
        deadline = time.monotonic() + seconds
        return asyncio.get_running_loop().run_in_executor(threads, self._transact, work, durability, deadline)

    def _transact(self, work: Callable[[Connection], T], durability: Durability, deadline: float) -> T:
        if time.monotonic() > deadline:
            # Its caller has given up, while others were before it.
            raise TimeoutError
        if durability is Durability.NONE:
            with self._engine.connect() as connection, connection.begin():
                return work(connection)
        return self._written(work, durability)

    def _written(self, work: Callable[[Connection], T], durability: Durability) -> T:
        """Return what `work` returns over the writer's own connection: one from the pool costs more."""
        if self._writing is None:
            self._writing = self._engine.connect()
        try:
            self._writing.execution_options(**{_DURABILITY: durability})
            with self._writing.begin():
                return work(self._writing)
        except BaseException:
            # A fresh one next time: what failed may be the connection itself.
            self._writing.close()
            self._writing = None
            raise

    async def close(self) -> None:
        self._readers.shutdown(wait=False)
        if self._writing is not None:
            last = asyncio.get_running_loop().run_in_executor(self._writer, self._end_writing)
            await asyncio.wait({last}, timeout=_BUSY_SECONDS)
        self._writer.shutdown(wait=False)
        self._engine.dispose()

    def _end_writing(self) -> None:
        if self._writing is not None:
            # Not into the pool: where a write took too long, that is disposed of by now.
            self._writing.detach()
            self._writing.close()
            self._writing = None


def upsert(connection: Connection, table: Table) -> Any:
    """Return an INSERT into `table` that knows ON CONFLICT, which both databases spell alike."""
    return insert_of(connection.dialect.name, table)


def insert_of(dialect: str, table: Table) -> Any:
    """Return like `upsert`, for a statement that outlives its connection."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_into_sqlite  # noqa: PLC0415 - the other is not needed

        return insert_into_sqlite(table)
    from sqlalchemy.dialects.postgresql import insert as insert_into_postgresql  # noqa: PLC0415 - as above

    return insert_into_postgresql(table)


def store(
    connection: Connection, statement: Insert | Update, values: Mapping[str, Any], **parameters: Any
) -> CursorResult[Any]:
    """Return what a statement with these `parameters` does that sets `values`, constants and expressions.

    Building a statement, and the key by which SQLAlchemy finds its compiled text, takes longer than running it:
    so constants are parameters of the execution, and a statement is built once for the same expressions.
    """
    expressions = tuple((name, value) for name, value in values.items() if isinstance(value, ColumnElement))
    constants = {name: value for name, value in values.items() if not isinstance(value, ColumnElement)}
    return connection.execute(_setting(statement, expressions), constants | parameters)


@lru_cache(maxsize=256)
def _setting(statement: Insert | Update, expressions: tuple[tuple[str, ColumnElement[Any]], ...]) -> Insert | Update:
    return statement.values(dict(expressions))


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


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


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


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = time.monotonic()


def _ask_if_doubtful(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Ask a connection whether it still is one, which is a round trip, if it rested or something came unasked.

    A server that ends a connection says so, and what it says waits in the socket.
    """
    rested = time.monotonic() - record.info.get(_USED, math.inf) > _RESTED_SECONDS
    if not rested and not _is_readable(cast("Any", record.driver_connection).pgconn.socket):
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError("the connection was cut while it rested") from error


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, deferred and only before some statements: `_begin_sqlite`
    # says what is wanted.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads first and writes then fails at once when another one wrote in between,
    # whatever the busy time-out; an immediate one waits at its beginning.
    durability = connection.get_execution_options().get(_DURABILITY, Durability.NONE)
    driver: Any = connection.connection.dbapi_connection
    if durability is not Durability.NONE:
        # FULL syncs the log at each commit, so that what we sent to the broker is never taken back by a power cut;
        # 0.3 ms on an SSD, tens of them on an SD card, where a sign of life should not cost as much.
        driver.execute(f"PRAGMA synchronous={'NORMAL' if durability is Durability.RELAXED else 'FULL'}")
    driver.execute("BEGIN" if durability is Durability.NONE else "BEGIN IMMEDIATE")


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
