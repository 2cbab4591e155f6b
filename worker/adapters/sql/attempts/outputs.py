"""The job that makes the file at a place: one at a time, and what it was about to show there."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from worker.adapters.sql.database.statements import insert_of
from worker.adapters.sql.schema import jobs, outputs
from worker.core.errors import OutputExists
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Executable

MAX_REMEMBERED: Final = 50
"""Files that attempts of one job were about to show at one place."""


def reserve(connection: Connection, job_id: str, digests: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Note that the job makes these files, SHA-256 by URI; return what its earlier attempts were about to show there.

    OutputExists where another job makes one and has not ended. One that has ended makes none any more: whether its
    file is there, the storage sees.
    """
    if not digests:
        return {}
    by_key = {hashlib.sha256(uri.encode()).hexdigest(): uri for uri in digests}
    # In one order for all jobs, so that no two wait for each other.
    keys = sorted(by_key)
    fresh = [{"uri_sha256": key, "job_id": job_id, "made": []} for key in keys]
    found = {by_key[row.uri_sha256]: row for row in connection.execute(_upsert(connection, "uri_sha256"), fresh)}
    _require_ended(connection, {uri: row.job_id for uri, row in found.items() if row.job_id != job_id})
    before = {uri: tuple(row.made) if row.job_id == job_id else () for uri, row in found.items()}
    made = {uri: list(dict.fromkeys([*before[uri], digests[uri]]))[-MAX_REMEMBERED:] for uri in digests}
    rows = [{"uri_sha256": key, "job_id": job_id, "made": made[by_key[key]]} for key in keys]
    connection.execute(_upsert(connection, "job_id", "made"), rows)
    return before


@cache
def _upserts(dialect: str, changed: tuple[str, ...]) -> Executable:
    """Return what inserts rows, or changes those columns of the rows that are there, and returns them, locked.

    It is executed for many at once: ten thousand files take no longer than a database may take to answer.
    """
    inserted = insert_of(dialect, outputs)
    values = {name: inserted.excluded[name] for name in changed}
    kept = inserted.on_conflict_do_update(index_elements=[outputs.c.uri_sha256], set_=values)
    returned: Executable = kept.returning(outputs.c.uri_sha256, outputs.c.job_id, outputs.c.made)
    return returned


def _upsert(connection: Connection, *changed: str) -> Executable:
    return _upserts(connection.dialect.name, changed)


def _require_ended(connection: Connection, others: Mapping[str, str]) -> None:
    """Raise OutputExists where one of the `others`, jobs by the URI that they make, has not ended."""
    asked = select(jobs.c.job_id, jobs.c.state).where(jobs.c.job_id.in_(set(others.values())))
    states = {row.job_id: row.state for row in connection.execute(asked)} if others else {}
    for uri, other in sorted(others.items()):
        if states.get(other, "unknown") not in TERMINAL:
            raise OutputExists(f"{uri}: the job {other}, which is {states.get(other, 'unknown')}, makes this file")
