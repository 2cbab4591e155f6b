"""PostgreSQL: psycopg's connections, on the event loop."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import create_async_engine

from worker.adapters.sql.database.alone import Alone
from worker.adapters.sql.database.backend import ENGINE, to_json
from worker.adapters.sql.database.doubt import is_doubtful

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Connection, Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

    from worker.adapters.sql.database.durability import Durability
    from worker.adapters.sql.database.statements import OneStatement

T = TypeVar("T")

_USED: Final = "leveret_used"


class Postgresql:
    """A `Backend` in which readers and writers do not wait for each other."""

    def __init__(self, url: URL, seconds: float) -> None:
        self._engine = create_async_engine(
            url,
            connect_args=_postgresql_arguments(),
            pool_timeout=seconds,
            json_serializer=to_json,
            **ENGINE,
        )
        event.listen(self._engine.sync_engine, "checkin", _note_use)
        event.listen(self._engine.sync_engine, "checkout", partial(_ask_if_doubtful, self._engine.dialect))
        self._alone = Alone(self._engine)

    def begin(self, work: Callable[[Connection], T], durability: Durability, seconds: float) -> asyncio.Future[T]:
        """Begin `work` in a transaction; readers and writers do not wait for each other here."""
        del durability
        return asyncio.create_task(self._run(work, seconds))

    def begin_alone(
        self, one: OneStatement, durability: Durability, seconds: float
    ) -> asyncio.Future[tuple[Any, ...] | None]:
        """Begin a statement that commits itself; its result is its first row."""
        return asyncio.create_task(self._run_alone(one, durability, seconds))

    async def _run(self, work: Callable[[Connection], T], seconds: float) -> T:
        async with asyncio.timeout(seconds), self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def _run_alone(self, one: OneStatement, durability: Durability, seconds: float) -> tuple[Any, ...] | None:
        async with asyncio.timeout(seconds):
            return await self._alone.first_row(one.statement, one.values, durability)

    async def close(self) -> None:
        """Close every connection."""
        await self._alone.close()
        await self._engine.dispose()


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
    """Ask a connection whether it still is one, if that is in doubt."""
    if not is_doubtful(cast("Any", record.driver_connection).pgconn.socket, record.info.get(_USED, math.inf)):
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError("the connection was closed while it was idle") from error
