"""The store of originals: what jobs replaced or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select, update

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.rows import uri_key
from worker.adapters.sql.schema import jobs, moment
from worker.adapters.sql.schema.intake import originals
from worker.core.ports.originals import Original
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from worker.adapters.sql.database import Database

DOUBT_SECONDS = 86400.0
"""The seconds for which an original whose successor could not be read is left alone."""


class SqlOriginals:
    """`worker.core.ports.originals.OriginalStore`, each method one transaction."""

    _database: Database

    async def plan_originals(self, planned: Sequence[Original]) -> None:
        """Insert rows; those that exist stay as they are."""
        if planned:
            await self._database.write(_plan, planned)

    async def originals(self, job_id: str | None = None, limit: int = 1000) -> list[Original]:
        """Return a job's originals, or the newest of all that can be put back."""
        return await self._database.read(_originals, job_id, limit)

    async def set_original(self, job_id: str, uri: str, state: str, problem: str | None = None) -> None:
        """Set the state of one; `kept` starts its age where it was planned."""
        await self._database.write(_set, job_id, uri, state, problem)

    async def prove_original(self, job_id: str, uri: str, problem: str | None = None) -> None:
        """Note that what took its place was read as a whole, or why it was not."""
        await self._database.write(_prove, job_id, uri, problem)

    async def claim_purge(self, older_than_seconds: float, most_bytes: int, lease_seconds: float) -> Original | None:
        """Return the oldest original that is too old, or too much, leased to the caller."""
        return await self._database.write(_claim_purge, older_than_seconds, most_bytes, lease_seconds)

    async def settle_planned(self, older_than_seconds: float, limit: int = 100) -> list[Original]:
        """Return planned originals of jobs that ended so long ago."""
        return await self._database.read(_left_planned, older_than_seconds, limit)

    async def kept_bytes(self) -> int:
        """Return how many bytes are kept."""
        return await self._database.read(_kept_bytes)


def _plan(connection: Connection, planned: Sequence[Original]) -> None:
    for one in planned:
        connection.execute(
            upsert(connection, originals)
            .values(
                job_id=one.job_id,
                uri_key=uri_key(one.uri),
                uri=one.uri,
                bytes=one.bytes,
                version=one.version,
                new_bytes=one.new_bytes,
                new_sha256=one.new_sha256,
                state="planned",
                kept_at=moment(),
            )
            .on_conflict_do_nothing()
        )


def _originals(connection: Connection, job_id: str | None, limit: int) -> list[Original]:
    found = select(originals).limit(limit)
    if job_id is None:
        found = found.where(originals.c.state == "kept").order_by(originals.c.kept_at.desc(), originals.c.job_id)
    else:
        found = found.where(originals.c.job_id == job_id).order_by(originals.c.uri)
    return [_original(row) for row in connection.execute(found)]


def _here(job_id: str, uri: str) -> ColumnElement[bool]:
    return (originals.c.job_id == job_id) & (originals.c.uri_key == uri_key(uri))


def _set(connection: Connection, job_id: str, uri: str, state: str, problem: str | None) -> None:
    values: dict[str, Any] = {"state": state, "problem": problem, "lease_until": None}
    if state == "kept":
        values["kept_at"] = moment()
    connection.execute(update(originals).where(_here(job_id, uri)).values(**values))


def _prove(connection: Connection, job_id: str, uri: str, problem: str | None) -> None:
    values: dict[str, Any] = {"problem": problem}
    values |= {"proved_at": moment()} if problem is None else {"lease_until": moment(DOUBT_SECONDS)}
    connection.execute(update(originals).where(_here(job_id, uri)).values(**values))


def _claim_purge(connection: Connection, seconds: float, most_bytes: int, lease_seconds: float) -> Original | None:
    free = or_(originals.c.lease_until.is_(None), originals.c.lease_until <= moment())
    due = (originals.c.state == "kept") & free
    if _kept_bytes(connection) <= most_bytes:
        due &= originals.c.kept_at <= moment(-seconds)
    oldest = select(originals).where(due).order_by(originals.c.kept_at, originals.c.job_id).limit(1)
    row = connection.execute(oldest.with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    here = (originals.c.job_id == row.job_id) & (originals.c.uri_key == row.uri_key)
    connection.execute(update(originals).where(here).values(lease_until=moment(lease_seconds)))
    return _original(row)


def _left_planned(connection: Connection, seconds: float, limit: int) -> list[Original]:
    ended = jobs.c.state.in_(TERMINAL) & (jobs.c.finished_at <= moment(-seconds)) & (originals.c.state == "planned")
    found = select(originals).join(jobs, jobs.c.job_id == originals.c.job_id).where(ended)
    return [_original(row) for row in connection.execute(found.order_by(originals.c.kept_at).limit(limit))]


def _kept_bytes(connection: Connection) -> int:
    total = select(func.coalesce(func.sum(originals.c.bytes), 0)).where(originals.c.state == "kept")
    return int(connection.execute(total).scalar_one())


def _original(row: Row[Any]) -> Original:
    return Original(
        job_id=row.job_id,
        uri=row.uri,
        bytes=row.bytes,
        version=row.version,
        new_bytes=row.new_bytes,
        new_sha256=row.new_sha256,
        state=row.state,
        kept_at=row.kept_at,
        proved=row.proved_at is not None,
        problem=row.problem,
    )
