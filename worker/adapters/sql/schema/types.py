"""The two ways in which SQLite and PostgreSQL differ: moments and texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Boolean, DateTime, Float, MetaData, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

metadata = MetaData()
"""Every table; `infra/migrations` brings a database to exactly these, and a test compares the two."""

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Moment(TypeDecorator[datetime]):
    """A point in time, an aware UTC datetime to us.

    PostgreSQL has a type for it. SQLite has none: there it is the seconds since 1970 as a float, so that a
    lease can be added to it and two of them compare as numbers.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that `dialect` stores."""
        return dialect.type_descriptor(Float() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what `dialect` stores for an aware datetime."""
        return value.timestamp() if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the aware UTC datetime for what `dialect` stored."""
        if value is None:
            return None
        return datetime.fromtimestamp(value, UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text from anywhere: a tool's last line, a stranger's message id.

    PostgreSQL's text holds no NUL and neither database half a surrogate pair; each becomes U+FFFD, for a record
    that cannot be written would be a job that cannot end.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return `value` as every database can hold it."""
        del dialect
        return None if value is None else _UNSTORABLE.sub("\ufffd", value)


class _Clock(FunctionElement[datetime]):
    """The database's own clock.

    PostgreSQL's `now()` is the start of the transaction, which may have waited for a row since; its
    `clock_timestamp()` is now. SQLite's julianday counts days from noon of 24 November 4714 BC, to the
    millisecond; `unixepoch('subsec')` needs 3.42 and Debian 12 has 3.40.
    """

    type = Moment()
    inherit_cache = True

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(literal(seconds, Float()))


@lru_cache(maxsize=256)
def moment(seconds: float = 0.0) -> ColumnElement[datetime]:
    """Return the database's own clock, `seconds` from now; the same expression for the same seconds."""
    return _Clock(seconds)


@compiles(_Clock, "sqlite")
def _sqlite_clock(element: _Clock, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"((julianday('now') - 2440587.5) * 86400.0 + ({seconds}))"


@compiles(_Clock, "postgresql")
def _postgresql_clock(element: _Clock, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + ({seconds}) * interval '1 second')"


class IsWhole(FunctionElement[bool]):
    """The condition that a job is one of its own, given the column that names whose part it is."""

    type = Boolean()
    inherit_cache = True


@compiles(IsWhole, "sqlite")
def _sqlite_is_whole(element: IsWhole, compiler: SQLCompiler, **options: Any) -> str:
    # Nearly every job is whole. With the column itself, SQLite takes the index of parts, and then sorts every job.
    return f"+{compiler.process(element.clauses, **options)} IS NULL"


@compiles(IsWhole, "postgresql")
def _postgresql_is_whole(element: IsWhole, compiler: SQLCompiler, **options: Any) -> str:
    return f"{compiler.process(element.clauses, **options)} IS NULL"
