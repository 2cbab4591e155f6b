"""The store of `reconcile`: jobs that nobody works on, and what ended ones left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from worker.adapters.sql.attempts.fence import close_attempt
from worker.adapters.sql.schema import LIVE, artifacts, attempts, jobs, moment
from worker.core.ports import Announced, Overdue
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from worker.adapters.sql.database import Database


class SqlReconcile:
    """`worker.core.ports.ReconcileStore`, each method one transaction."""

    _database: Database

    async def overdue(self, seconds: float) -> list[Overdue]:
        """Return the jobs that should have gone on at least so long ago, the longest overdue first."""
        return await self._database.read(overdue, seconds)

    async def requeue(self, job_id: str, digest: str) -> bool:
        """Queue a job that is still overdue again, its message's body now `digest`; return whether it was."""
        return await self._database.write(requeue, job_id, digest)

    async def pending_deletions(self, ended: tuple[float, float] | None = None) -> dict[str, tuple[str, ...]]:
        """Return by completed job the external files that it still has to delete."""
        return await self._database.read(pending_deletions, ended)

    async def announced(self) -> list[Announced]:
        """Return the ended jobs whose attempts announced more than their record names."""
        return await self._database.read(announced)


def _since() -> ColumnElement[Any]:
    """Return when a job that has not ended should have gone on."""
    ended = select(func.max(attempts.c.ended_at)).where(attempts.c.job_id == jobs.c.job_id).scalar_subquery()
    return func.coalesce(jobs.c.lease_until, jobs.c.not_before, ended, jobs.c.created_at)


def _is_overdue(seconds: float) -> ColumnElement[bool]:
    live = jobs.c.state.in_(LIVE) & (jobs.c.lease_until <= moment(-seconds))
    waiting = jobs.c.state.in_(("queued", "retrying")) & (_since() <= moment(-seconds))
    return or_(live, waiting)


def overdue(connection: Connection, seconds: float) -> list[Overdue]:
    """Return the jobs that should have gone on `seconds` ago, the longest overdue first."""
    since = _since().label("since")
    found = connection.execute(
        select(jobs.c.job_id, jobs.c.state, jobs.c.lane, jobs.c.priority, since, moment().label("now"))
        .where(_is_overdue(seconds))
        .order_by(since)
    )
    return [
        Overdue(row.job_id, row.state, row.lane, row.priority, (row.now - row.since).total_seconds()) for row in found
    ]


def requeue(connection: Connection, job_id: str, digest: str) -> bool:
    """Queue a job that is overdue, and close the attempt that its worker left open."""
    row = connection.execute(
        select(jobs.c.epoch).where((jobs.c.job_id == job_id) & _is_overdue(0.0)).with_for_update()
    ).one_or_none()
    if row is None:
        return False
    values = {"state": "queued", "digest": digest, "lease_until": None, "not_before": None, "cancel_requested": False}
    values["standby"] = None
    connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**values))
    close_attempt(connection, job_id, row.epoch, "crashed", "it was left open, and its message was lost")
    return True


def pending_deletions(connection: Connection, ended: tuple[float, float] | None = None) -> dict[str, tuple[str, ...]]:
    """Return by completed job what it still has to delete; with `ended`, of jobs that ended so many seconds ago."""
    asked = select(jobs.c.job_id, jobs.c.pending_deletions).where(jobs.c.state == "completed")
    if ended is not None:
        least, most = ended
        asked = asked.where(jobs.c.finished_at.between(moment(-most), moment(-least)))
    found = connection.execute(asked)
    return {row.job_id: tuple(row.pending_deletions) for row in found if row.pending_deletions}


def announced(connection: Connection) -> list[Announced]:
    """Return the ended jobs whose attempts announced more than their record names."""
    ended = and_(jobs.c.job_id == attempts.c.job_id, jobs.c.state.in_(TERMINAL))
    uris: dict[str, set[str]] = {}
    states: dict[str, str] = {}
    for row in connection.execute(select(jobs.c.job_id, jobs.c.state, attempts.c.announced).join(attempts, ended)):
        if row.announced:
            uris.setdefault(row.job_id, set()).update(row.announced)
            states[row.job_id] = row.state
    named: dict[str, set[str]] = {}
    for job_id, uri in connection.execute(select(artifacts.c.job_id, artifacts.c.uri)):
        if job_id in uris:
            named.setdefault(job_id, set()).add(uri)
    found = []
    for job_id, planned in sorted(uris.items()):
        result = frozenset(named.get(job_id, ())) if states[job_id] == "completed" else None
        if planned - (result or frozenset()):
            found.append(Announced(job_id, frozenset(planned), result))
    return found
