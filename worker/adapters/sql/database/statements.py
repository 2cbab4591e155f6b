"""Statements that both databases take, built once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ClauseElement, Connection, CursorResult, Insert, Table, Update


@dataclass(frozen=True, slots=True)
class OneStatement:
    """A statement that was built once, with the values of one execution."""

    statement: ClauseElement
    values: Mapping[str, Any]


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
