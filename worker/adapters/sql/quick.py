"""One job of an SQLite file by Python's own driver: to import SQLAlchemy takes longer than all else of `leveret job`.

It answers the usual questions about a database as it should be. Whatever is unusual, and every other question, goes
to the stores, which also have the words for what is wrong. The contract suites read each of their jobs both ways.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from worker.adapters.sql.records import PART_COLUMNS, WHOLE_COLUMNS, part_records, whole_record, worker_record
from worker.adapters.sql.revision import REVISION
from worker.core.record import ArtifactRecord, AttemptRecord, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from worker.adapters.sql.lookups import SqlLookups
    from worker.core.listing import JobFilter, Page
    from worker.core.record import JobRecord, LogRecord

T = TypeVar("T")

MOMENTS: Final = frozenset({"created_at", "started_at", "finished_at", "ended_at", "not_before", "seen_at"})
"""The columns of type `Moment` that are read here: seconds since 1970."""
DOCUMENTS: Final = frozenset(
    {"facts", "metrics", "document", "plan", "refused_by", "lanes", "capabilities", "hardware"}
)
"""The columns of type JSON that are read here."""
_BUSY_SECONDS: Final = 4.0
_LAST: Final = "\x7f"
"""Sorts after every letter that an id may have."""
_CLOCK: Final = "(julianday('now') - 2440587.5) * 86400.0"


class QuickLookups:
    """`worker.core.ports.JobLookups` over an SQLite file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._opened: SqlLookups | None = None

    async def check(self) -> None:
        """Return if the schema is the newest; Misconfigured names the command otherwise."""
        if not self._answer(_is_newest):
            await self._stores().check()

    async def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record."""
        found = self._answer(lambda connection: (read_job(connection, job_id),))
        return await self._stores().job(job_id) if found is None else found[0]

    async def ids(self, prefix: str, limit: int) -> list[str]:
        """Return ids that begin with `prefix`, by name."""
        found = self._answer(lambda connection: read_ids(connection, prefix, limit))
        return await self._stores().ids(prefix, limit) if found is None else found

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return the workers; those silent for `offline_after` seconds are `offline`."""
        found = self._answer(lambda connection: read_workers(connection, offline_after))
        return await self._stores().workers(offline_after) if found is None else found

    async def log(self, job_id: str, number: int | None = None) -> LogRecord | None:
        """Return the log of the job's newest attempt that has one, or of the newest with that number."""
        return await self._stores().log(job_id, number)

    async def page(self, chosen: JobFilter, limit: int = 100, cursor: str | None = None) -> Page:
        """Return the newest jobs that match, after those that `cursor` ended with."""
        return await self._stores().page(chosen, limit, cursor)

    async def with_details(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """Return the same jobs with their attempts and artifacts."""
        return await self._stores().with_details(records)

    async def close(self) -> None:
        """Close every connection."""
        if self._connection is not None:
            self._connection.close()
        if self._opened is not None:
            await self._opened.close()

    def _answer(self, question: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the answer, read in one transaction; None where the stores should be asked.

        It holds the event loop, on which nothing else runs: a reader of SQLite does not wait for writers.
        """
        try:
            if self._connection is None:
                place = f"{self._file.absolute().as_uri()}?mode=rw"
                self._connection = sqlite3.connect(place, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            self._connection.execute("BEGIN")
            try:
                return question(self._connection)
            finally:
                self._connection.execute("COMMIT")
        except (sqlite3.Error, ValueError):
            return None

    def _stores(self) -> SqlLookups:
        if self._opened is None:
            from worker.adapters.sql.lookups import SqlLookups  # noqa: PLC0415 - what this module does without

            self._opened = SqlLookups(f"sqlite:///{self._file}")
        return self._opened


def _is_newest(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISION,)]


def read_job(connection: sqlite3.Connection, job_id: str) -> JobRecord | None:
    """Return a job's record, whole."""
    found = _rows(connection, WHOLE_COLUMNS, "jobs WHERE job_id = ?", job_id)
    if not found:
        return None
    attempts = _rows(connection, AttemptRecord.model_fields, "attempts WHERE job_id = ? ORDER BY epoch", job_id)
    artifacts = _rows(connection, ArtifactRecord.model_fields, "artifacts WHERE job_id = ? ORDER BY position", job_id)
    of_job = "jobs WHERE parent_id = ? ORDER BY part_index, job_id"
    parts = part_records(_rows(connection, PART_COLUMNS, of_job, job_id)) if found[0]["plan"] else ()
    return whole_record(found[0], attempts, artifacts, parts)


def read_ids(connection: sqlite3.Connection, prefix: str, limit: int) -> list[str]:
    """Return ids that begin with `prefix`, by name."""
    those = "jobs WHERE job_id >= ? AND job_id < ? ORDER BY job_id LIMIT ?"
    return [row["job_id"] for row in _rows(connection, ("job_id",), those, prefix, prefix + _LAST, limit)]


def read_workers(connection: sqlite3.Connection, offline_after: float) -> list[WorkerRecord]:
    """Return the workers by name; those silent for `offline_after` seconds are `offline`."""
    (now,) = connection.execute(f"SELECT {_CLOCK}").fetchone()
    rows = _rows(connection, WorkerRecord.model_fields, "workers ORDER BY worker_id")
    return [worker_record(row, offline=row["seen_at"].timestamp() < now - offline_after) for row in rows]


def _rows(
    connection: sqlite3.Connection, columns: Iterable[str], those: str, *parameters: object
) -> list[dict[str, Any]]:
    """Return `those` rows by column; the statement holds our own names alone."""
    found = connection.execute(f"SELECT {', '.join(columns)} FROM {those}", parameters)  # noqa: S608 - as above
    names = [name for name, *_ in found.description]
    return [{name: _value(name, stored) for name, stored in zip(names, row, strict=True)} for row in found]


def _value(column: str, stored: Any) -> Any:
    """Return what the types of the schema make of a stored value."""
    if stored is None:
        return None
    if column in MOMENTS:
        return datetime.fromtimestamp(stored, UTC)
    return json.loads(stored) if column in DOCUMENTS else stored
