"""SQLite: its connections, each transaction whole in a thread."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

from worker.adapters.sql.database.backend import ENGINE, to_json
from worker.adapters.sql.database.durability import Durability
from worker.core.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Connection

T = TypeVar("T")

_BUSY_SECONDS: Final = 4.0
_DURABILITY: Final = "leveret_durability"


class Sqlite:
    """A `Backend` with one writer and several readers."""

    def __init__(self, url: URL, seconds: float) -> None:
        _make_folder(url)
        self._engine = create_engine(
            url,
            connect_args={"timeout": _BUSY_SECONDS},
            poolclass=QueuePool,
            pool_timeout=seconds,
            json_serializer=to_json,
            **ENGINE,
        )
        event.listen(self._engine, "connect", _prepare_sqlite)
        event.listen(self._engine, "begin", _begin_sqlite)
        self._readers = ThreadPoolExecutor(ENGINE["pool_size"] - 1, "leveret-sqlite")
        # SQLite has one writer, and those who wait for it sleep up to 100 ms between two looks: ours queue instead.
        self._writer = ThreadPoolExecutor(1, "leveret-sqlite-writer")
        self._writing: Connection | None = None
        self._wrote = False
        self._closing = False

    def begin(self, work: Callable[[Connection], T], durability: Durability, seconds: float) -> asyncio.Future[T]:
        """Begin `work` in a transaction, as soon as a thread is free; one of ours writes at a time."""
        threads = self._readers if durability is Durability.NONE else self._writer
        self._wrote |= threads is self._writer
        deadline = time.monotonic() + seconds
        return asyncio.get_running_loop().run_in_executor(threads, self._transact, work, durability, deadline)

    def _transact(self, work: Callable[[Connection], T], durability: Durability, deadline: float) -> T:
        if time.monotonic() > deadline:
            # Its caller has given up, while others were before it.
            raise TimeoutError
        if durability is Durability.NONE:
            with self._engine.connect() as connection:
                try:
                    with connection.begin():
                        return work(connection)
                finally:
                    if self._closing:
                        # The pool that it came from is closed, or will be before it is back, and closes it no more.
                        connection.detach()
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
        """Close every connection."""
        self._closing = True
        self._readers.shutdown(wait=False)
        # a first write may be under way, whose connection is not there yet
        if self._wrote:
            self._wrote = False
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


def _make_folder(url: URL) -> None:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Misconfigured(
                f"the folder {folder} of the database cannot be made: {error.strerror}; see WORKER_DATABASE_URL"
            ) from error


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
