"""Which job makes the file at a place: one job at a time, and what it was about to show there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import jobs, outputs
from worker.core.errors import OutputExists
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

MOST_REMEMBERED: Final = 50
"""Files that attempts of one job were about to show at one place."""


def reserve(connection: Connection, job_id: str, digests: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Note that the job makes these files, SHA-256 by URI; return what its earlier attempts were about to show there.

    OutputExists where another job makes one and has not ended. One that has ended makes none any more: whether its
    file is there, the storage sees.
    """
    # In one order for all jobs, so that no two wait for each other.
    return {uri: _reserve(connection, job_id, uri, digests[uri]) for uri in sorted(digests)}


def _reserve(connection: Connection, job_id: str, uri: str, digest: str) -> tuple[str, ...]:
    key = hashlib.sha256(uri.encode()).hexdigest()
    values: dict[str, Any] = {"job_id": job_id, "made": [digest]}
    fresh = upsert(connection, outputs).values(uri_sha256=key, **values).on_conflict_do_nothing()
    if connection.execute(fresh.returning(outputs.c.uri_sha256)).one_or_none() is not None:
        return ()
    found = select(outputs.c.job_id, outputs.c.made, jobs.c.state).join(jobs, jobs.c.job_id == outputs.c.job_id)
    row = connection.execute(found.where(outputs.c.uri_sha256 == key).with_for_update(of=outputs)).one()
    before: tuple[str, ...] = ()
    if row.job_id == job_id:
        before = tuple(row.made)
        values["made"] = list(dict.fromkeys([*before, digest]))[-MOST_REMEMBERED:]
    elif row.state not in TERMINAL:
        raise OutputExists(f"{uri}: the job {row.job_id}, which is {row.state}, makes this file")
    connection.execute(update(outputs).where(outputs.c.uri_sha256 == key).values(**values))
    return before
