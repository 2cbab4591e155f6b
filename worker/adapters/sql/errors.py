"""Every error of a database, made ours at this edge."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.core.errors import DatabaseUnavailable, LeveretError, Misconfigured
from worker.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVISION: Final = "run `python -m infra provision`"

# PostgreSQL's error codes, appendix A of its manual: class 28 invalid authorization, 3D000 invalid catalog
# name, 42501 insufficient privilege, 42P01 and 42703 undefined table and column, 25006 read-only transaction
# (a standby after a failover).
_REFUSED_CODES: Final = ("28", "3D000", "42501")
_BEHIND_CODES: Final = ("42P01", "42703")
_AWAY_CODES: Final = ("25006",)

# libpq gives no code for what the server says while a connection is made, nor does SQLite for a missing table.
_REFUSED_TEXTS: Final = (
    "authentication failed",
    "no pg_hba.conf entry",
    "no password supplied",
    "role ",
    'database "',
    "attempt to write a readonly database",
    "file is not a database",
)
_BEHIND_TEXTS: Final = ("no such table", "no such column", "has no column named")


@contextmanager
def database_errors(place: str, password: str | None, seconds: float) -> Iterator[None]:
    """Turn the errors of SQLAlchemy and its drivers into ours.

    `place` names the database without its password. Raises Misconfigured where a person must act,
    DatabaseUnavailable where the database is away, busy or silent for `seconds` seconds, and a bare
    LeveretError where it refused a statement: a fault of ours, which the policy counts like a transient one.
    """
    try:
        yield
    except TimeoutError as error:
        raise DatabaseUnavailable(f"the database at {place} did not answer within {seconds:g} s") from error
    except OSError as error:
        raise DatabaseUnavailable(f"the database at {place} cannot be reached: {error.strerror or error}") from error
    except PoolTimeout as error:
        raise DatabaseUnavailable(f"the database at {place} has no free connection") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        # The driver's own come from where a transaction begins, which SQLAlchemy leaves to us.
        raise _translated(error, place, password) from error


def _translated(error: SQLAlchemyError | sqlite3.Error, place: str, password: str | None) -> LeveretError:
    # str() of SQLAlchemy's own error would carry the statement with all its values.
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    # Nor may the detail of PostgreSQL's error be shown, which quotes the row.
    words = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause)
    text = redact(" ".join(words.split()), (password,) if password else ())[:500]
    code = getattr(cause, "sqlstate", None) or ""
    connecting = not code
    if code.startswith(_REFUSED_CODES) or (connecting and any(part in text for part in _REFUSED_TEXTS)):
        return Misconfigured(f"the database at {place} refused us: {text}; see WORKER_DATABASE_URL")
    if code in _BEHIND_CODES or (connecting and any(part in text for part in _BEHIND_TEXTS)):
        return Misconfigured(f"the database at {place} is behind on migrations ({text}): {PROVISION}")
    gone = _is_operational(cause) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    if gone or code in _AWAY_CODES:
        return DatabaseUnavailable(f"the database at {place} does not answer: {text}")
    return LeveretError(f"the database at {place} refused a statement: {type(cause).__name__}: {text}")


def _is_operational(cause: BaseException) -> bool:
    """Return whether the driver blames the database's state: both drivers follow the classes of PEP 249."""
    return any(kind.__name__ in {"OperationalError", "InterfaceError"} for kind in type(cause).__mro__)
