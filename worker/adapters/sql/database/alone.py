"""Statements on PostgreSQL that commit themselves, over a connection of their own and without SQLAlchemy's execution.

A claim and an end are one statement each, always the same two. SQLAlchemy takes a connection from its pool for each,
sets how it commits, runs events, and goes through a greenlet at every wait: twice the processor time of psycopg alone.
So what SQLAlchemy compiled once is given to psycopg directly.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from sqlalchemy.exc import DBAPIError

from worker.adapters.sql.database.doubt import is_doubtful
from worker.adapters.sql.database.durability import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import ClauseElement, Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

    Values = Mapping[str, Any]

MAX_COMPILED: Final = 256


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The text of a statement, the constants in it, and what makes a value psycopg's, by the parameter's name."""

    text: bytes
    constants: dict[str, Any]
    adapt: tuple[tuple[str, Callable[[Any], Any]], ...]

    def parameters(self, values: Values) -> dict[str, Any]:
        """Return what is sent with the text for these `values`."""
        sent: dict[str, Any] = {**self.constants, **values}
        for name, adapt in self.adapt:
            if name in values:
                sent[name] = adapt(sent[name])
        return sent


class Alone:
    """Runs statements, each a transaction of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # How a connection commits is asked once, when it is opened: one rests for each kind.
        self._idle: dict[Durability, tuple[psycopg.AsyncConnection[Any], float]] = {}
        self._closed = False
        # The statement is kept beside its text: an id is of nobody else as long as its owner lives.
        self._compiled: dict[int, tuple[ClauseElement, _Compiled]] = {}

    async def first_row(
        self, statement: ClauseElement, values: Values, durability: Durability
    ) -> tuple[Any, ...] | None:
        """Return the first row that the statement returns, None if it returns none; it is committed then.

        A connection on which it fails, or is given up, is closed: what it still does ends with it.
        """
        compiled = self._text_of(statement)
        connection = await self._take(durability)
        try:
            cursor = await connection.execute(compiled.text, compiled.parameters(values))
            row = cast("tuple[Any, ...] | None", await cursor.fetchone())
        except psycopg.Error as error:
            await connection.close()
            raise _as_sqlalchemy_error(error) from error
        except BaseException:
            await connection.close()
            raise
        await self._give_back(connection, durability)
        return row

    async def close(self) -> None:
        """Close the connections that rest, and from now on those that come back."""
        self._closed = True
        while self._idle:
            _, (connection, _) = self._idle.popitem()
            await connection.close()

    async def _take(self, durability: Durability) -> psycopg.AsyncConnection[Any]:
        """Return a connection that nobody uses; two statements at once have two."""
        if durability not in self._idle:
            return await self._open(durability)
        connection, used = self._idle.pop(durability)
        if is_doubtful(connection.pgconn.socket, used):
            try:
                await connection.execute("SELECT 1")
            except psycopg.Error:
                await connection.close()
                return await self._open(durability)
            except BaseException:
                await connection.close()
                raise
        return connection

    async def _open(self, durability: Durability) -> psycopg.AsyncConnection[Any]:
        """Return a connection of the engine's making, which its pool no longer knows."""
        proxied = await self._engine.raw_connection()
        connection = cast("psycopg.AsyncConnection[Any]", proxied.driver_connection)
        proxied.detach()
        try:
            await connection.set_autocommit(True)
            if durability is Durability.RELAXED:
                await connection.execute("SET synchronous_commit = off")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _give_back(self, connection: psycopg.AsyncConnection[Any], durability: Durability) -> None:
        if self._closed or durability in self._idle:
            await connection.close()
            return
        self._idle[durability] = (connection, time.monotonic())

    def _text_of(self, statement: ClauseElement) -> _Compiled:
        known = self._compiled.get(id(statement))
        if known is None:
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.clear()
            known = self._compiled[id(statement)] = (statement, _compile(statement, self._engine.dialect))
        return known[1]


def _compile(statement: ClauseElement, dialect: Dialect) -> _Compiled:
    """Return a statement as psycopg takes it. None of its parameters may be a list that is spelt out."""
    compiled = cast("Any", statement.compile(dialect=dialect))
    adapt = {}
    for name, parameter in compiled.binds.items():
        convert = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            adapt[name] = convert
    constants = {
        name: adapt[name](value) if name in adapt else value
        for name, value in compiled.construct_params(_check=False).items()
    }
    return _Compiled(str(compiled).encode(), constants, tuple(adapt.items()))


def _as_sqlalchemy_error(error: psycopg.Error) -> Exception:
    """Return what SQLAlchemy would have raised, without the values."""
    return cast("Exception", DBAPIError.instance(None, None, error, psycopg.Error, hide_parameters=True))
