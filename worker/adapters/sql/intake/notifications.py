"""The store of notifications, and of the ends of jobs that they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, literal, or_, select, tuple_, update

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import WHOLE, jobs, moment
from worker.adapters.sql.schema.intake import notices, notifications
from worker.core.notification import Notice, Notification, StoredNotification

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from worker.adapters.sql.database import Database

_AT_ONCE: Final = 500
OVERLAP_SECONDS: Final = 60.0
"""A transaction that ended a job may be seen so long after the time that it wrote."""


class SqlNotifications:
    """`worker.core.ports.notifications.NotificationStore`, each method one transaction."""

    _database: Database

    async def notifications(self) -> list[StoredNotification]:
        """Return all of them by name."""
        return await self._database.read(_list)

    async def put_notification(self, name: str, notification: Notification) -> None:
        """Store or replace one; a new one is sent only what ends from now on."""
        await self._database.write(_put, name, notification)

    async def delete_notification(self, name: str) -> bool:
        """Return whether there was one."""
        return await self._database.write(_delete, name)

    async def collect_notices(self, name: str, states: Sequence[str], limit: int) -> int:
        """Note jobs that ended in these states since the last look, each end once; return how many were new."""
        return await self._database.write(_collect, name, states, limit)

    async def claim_notification(self, name: str, owner: str, lease_seconds: float) -> bool:
        """Return whether `owner` may send now: it is due, and nobody else has it."""
        return await self._database.write(_claim, name, owner, lease_seconds)

    async def waiting_notices(self, name: str, limit: int) -> tuple[list[Notice], dict[str, int]]:
        """Return the oldest ends that are not sent yet, and how many wait of each state."""
        return await self._database.read(_waiting_notices, name, limit)

    async def notices_sent(self, name: str, sent: Sequence[Notice], next_seconds: float) -> None:
        """Note that these are sent, and when the next message may go out."""
        await self._database.write(_note_sent, name, sent, next_seconds)

    async def notices_failed(self, name: str, problem: str, next_seconds: float, give_up_seconds: float) -> None:
        """Note why nothing could be sent; what waits longer than `give_up_seconds` is given up."""
        await self._database.write(_note_failure, name, problem, next_seconds, give_up_seconds)

    async def forget_notices(self, older_than_seconds: float) -> int:
        """Delete what was sent, or given up, so long ago; return how many."""
        return await self._database.write(_forget, older_than_seconds)


def _list(connection: Connection) -> list[StoredNotification]:
    waiting = select(notices.c.notification, func.count()).where(notices.c.fate == "waiting")
    counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(waiting.group_by(notices.c.notification))}
    return [
        StoredNotification(
            name=row.name,
            document=row.document,
            sent_at=row.sent_at,
            failures=row.failures,
            problem=row.problem,
            waiting=counts.get(row.name, 0),
        )
        for row in connection.execute(select(notifications).order_by(notifications.c.name))
    ]


def _put(connection: Connection, name: str, notification: Notification) -> None:
    document = notification.model_dump(mode="json")
    known = connection.execute(select(notifications.c.document).where(notifications.c.name == name)).scalar()
    values: dict[str, Any] = {"document": document, "due_at": moment(), "failures": 0, "problem": None}
    if known is None or not known.get("enabled", True):
        # What ended before somebody asked, or while it was off, is not sent late.
        values["created_at"] = values["seen_until"] = moment()
    connection.execute(
        upsert(connection, notifications)
        .values({"name": name, "created_at": moment(), "seen_until": moment()} | values)
        .on_conflict_do_update(index_elements=[notifications.c.name], set_=values)
    )


def _delete(connection: Connection, name: str) -> bool:
    connection.execute(delete(notices).where(notices.c.notification == name))
    return connection.execute(delete(notifications).where(notifications.c.name == name)).rowcount > 0


def _collect(connection: Connection, name: str, states: Sequence[str], limit: int) -> int:
    row = connection.execute(
        select(notifications.c.seen_until, notifications.c.created_at, moment().label("now")).where(
            notifications.c.name == name
        )
    ).one_or_none()
    if row is None:
        return 0
    since = max(row.created_at, row.seen_until)
    ended = (jobs.c.finished_at >= since) & jobs.c.state.in_(states) & WHOLE
    found = (
        select(literal(name), jobs.c.job_id, jobs.c.epoch, jobs.c.state, jobs.c.finished_at, literal("waiting"))
        .where(ended)
        .order_by(jobs.c.finished_at, jobs.c.job_id)
        .limit(limit)
    )
    rows = connection.execute(found).all()
    columns = ("notification", "job_id", "epoch", "state", "ended_at", "fate")
    fresh = 0
    for one in rows:
        values = dict(zip(columns, one, strict=True))
        fresh += connection.execute(upsert(connection, notices).values(values).on_conflict_do_nothing()).rowcount
    # Where there were more, the next look goes on with the last of these.
    until = rows[-1].finished_at if len(rows) == limit else moment(-OVERLAP_SECONDS)
    connection.execute(update(notifications).where(notifications.c.name == name).values(seen_until=until))
    return fresh


def _claim(connection: Connection, name: str, owner: str, lease_seconds: float) -> bool:
    free = or_(
        notifications.c.lease_until.is_(None), notifications.c.lease_until <= moment(), notifications.c.owner == owner
    )
    here = (notifications.c.name == name) & (notifications.c.due_at <= moment()) & free
    claimed = update(notifications).where(here).values(owner=owner, lease_until=moment(lease_seconds))
    return connection.execute(claimed).rowcount > 0


def _waiting_notices(connection: Connection, name: str, limit: int) -> tuple[list[Notice], dict[str, int]]:
    here = (notices.c.notification == name) & (notices.c.fate == "waiting")
    counts = connection.execute(select(notices.c.state, func.count()).where(here).group_by(notices.c.state))
    found = (
        select(notices, jobs.c.title, jobs.c.error, jobs.c.error_type, jobs.c.manifest_url)
        .join(jobs, jobs.c.job_id == notices.c.job_id)
        .where(here)
        .order_by(notices.c.ended_at, notices.c.job_id)
        .limit(limit)
    )
    listed = [
        Notice(
            job_id=row.job_id,
            epoch=row.epoch,
            state=row.state,
            title=row.title,
            ended_at=row.ended_at,
            error=row.error if row.state == "dead" else None,
            error_type=row.error_type if row.state == "dead" else None,
            manifest_url=row.manifest_url,
        )
        for row in connection.execute(found)
    ]
    return listed, {row[0]: row[1] for row in counts}


def _note_sent(connection: Connection, name: str, sent: Sequence[Notice], next_seconds: float) -> None:
    keys = [(one.job_id, one.epoch, one.state) for one in sent]
    for first in range(0, len(keys), _AT_ONCE):
        listed = tuple_(notices.c.job_id, notices.c.epoch, notices.c.state).in_(keys[first : first + _AT_ONCE])
        connection.execute(update(notices).where((notices.c.notification == name) & listed).values(fate="sent"))
    values = {"sent_at": moment(), "due_at": moment(next_seconds), "failures": 0, "problem": None, "lease_until": None}
    connection.execute(update(notifications).where(notifications.c.name == name).values(values))


def _note_failure(connection: Connection, name: str, problem: str, next_seconds: float, give_up_seconds: float) -> None:
    waiting = (notices.c.notification == name) & (notices.c.fate == "waiting")
    old = waiting & (notices.c.ended_at <= moment(-give_up_seconds))
    connection.execute(update(notices).where(old).values(fate="failed"))
    connection.execute(
        update(notifications)
        .where(notifications.c.name == name)
        .values(problem=problem, failures=notifications.c.failures + 1, due_at=moment(next_seconds), lease_until=None)
    )


def _forget(connection: Connection, seconds: float) -> int:
    old = (notices.c.fate != "waiting") & (notices.c.ended_at <= moment(-seconds))
    return connection.execute(delete(notices).where(old)).rowcount
