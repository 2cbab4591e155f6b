"""One database behind one URL: its transactions, and how long we wait for it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from worker.adapters.sql.database.backend import CommitsAlone
from worker.adapters.sql.database.durability import Durability
from worker.adapters.sql.errors import database_errors
from worker.core.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Connection

    from worker.adapters.sql.answers import Answers
    from worker.adapters.sql.database.backend import Backend
    from worker.adapters.sql.database.statements import OneStatement

__all__ = ["ANSWER_SECONDS", "Database", "Durability"]

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_SECONDS: Final = 5.0
"""Seconds that a call may take before the database counts as away."""
_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}


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
        self._backend = _backend(self._url, seconds)
        self._alone = self._backend if isinstance(self._backend, CommitsAlone) else None

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

    async def write_one(self, one: OneStatement, durability: Durability = Durability.FULL) -> tuple[Any, ...] | None:
        """Return the first row of a statement that commits itself, None if it has none; where `commits_alone`.

        So a claim, or an end, is one round trip instead of four: begin, two statements, commit.
        """
        if self._alone is None:
            raise TypeError(f"{self._place} runs no statement that changes two tables")
        return await self._answered(self._alone.begin_alone(one, durability, self._seconds), self._seconds)

    @property
    def commits_alone(self) -> bool:
        """Return whether `write_one` is there, as on PostgreSQL."""
        return self._alone is not None

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

    async def _bounded(self, work: Callable[[Connection], T], seconds: float, durability: Durability) -> T:
        return await self._answered(self._backend.begin(work, durability, seconds), seconds)

    async def _answered(self, running: asyncio.Future[T], seconds: float) -> T:
        """Return the result of what has begun, or raise in time.

        A caller that is cancelled leaves the work to its end, so that no connection is torn in the middle of a
        statement; and a driver that is stuck in its own clean-up (psycopg waits up to ten seconds for a stopped
        server to confirm a cancellation) does not hold the caller.
        """
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


def _driver_url(url: str) -> URL:
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in _DRIVERS:
        raise Misconfigured(
            f"WORKER_DATABASE_URL: it begins with {scheme[:20]!r}: write sqlite:///path or"
            " postgresql://user:password@host/name"
        )
    try:
        return make_url(f"{_DRIVERS[scheme]}:{rest}")
    except (ArgumentError, ValueError) as error:
        raise Misconfigured("WORKER_DATABASE_URL is not the URL of a database") from error


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _address(url: URL) -> str:
    return f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"


def _backend(url: URL, seconds: float) -> Backend:
    # A process works with one of them, and psycopg brings the whole ORM.
    if _is_sqlite(url):
        from worker.adapters.sql.database.sqlite import Sqlite  # noqa: PLC0415

        return Sqlite(url, seconds)
    from worker.adapters.sql.database.postgresql import Postgresql  # noqa: PLC0415

    return Postgresql(url, seconds)
