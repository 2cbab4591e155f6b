"""Schedules, and who runs one now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, or_, select, update

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import schedules
from worker.core.schedule import ScheduleRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from worker.adapters.sql.database import Database


class SqlSchedules:
    """`worker.core.ports.schedules.ScheduleStore`, each method one transaction."""

    _database: Database

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        return await self._database.read(all_schedules)

    async def put_schedule(self, name: str, document: Mapping[str, Any], next_at: datetime | None) -> ScheduleRecord:
        """Store or replace a schedule; how its last run went stays."""
        return await self._database.write(put, name, dict(document), next_at)

    async def delete_schedule(self, name: str) -> bool:
        """Return whether there was one."""
        return await self._database.write(remove, name)

    async def claim_schedule(self, owner: str, lease_seconds: float, name: str | None = None) -> ScheduleRecord | None:
        """Return a schedule that is due and that nobody runs, now the owner's; or `name`, due or not."""
        if name is None and not await self._database.read(any_due):
            # Nobody waits for the writer while nothing is due.
            return None
        return await self._database.write(claim, owner, lease_seconds, name)

    async def renew_schedule(self, name: str, owner: str, lease_seconds: float) -> bool:
        """Return whether the schedule is still the owner's, for so long from now."""
        return await self._database.write_relaxed(renew, name, owner, lease_seconds)

    async def finish_schedule(self, name: str, owner: str, next_at: datetime | None, outcome: str) -> bool:
        """Note how a run went and when the next is due; return whether the schedule was still the owner's."""
        return await self._database.write(finish, name, owner, next_at, outcome)


def all_schedules(connection: Connection) -> list[ScheduleRecord]:
    """Return all schedules by name."""
    rows = connection.execute(select(schedules).order_by(schedules.c.name)).mappings()
    return [ScheduleRecord.model_validate(row) for row in rows]


def put(connection: Connection, name: str, document: dict[str, Any], next_at: datetime | None) -> ScheduleRecord:
    """Store or replace a schedule. A run that is under way ends by itself, and leaves the new time as it is."""
    values = {"document": document, "next_at": next_at, "owner": None, "lease_until": None}
    statement = upsert(connection, schedules).values(name=name, **values)
    stored = statement.on_conflict_do_update(index_elements=[schedules.c.name], set_=values).returning(schedules)
    return ScheduleRecord.model_validate(connection.execute(stored).mappings().one())


def remove(connection: Connection, name: str) -> bool:
    """Return whether there was one."""
    return connection.execute(delete(schedules).where(schedules.c.name == name)).rowcount > 0


def _free() -> Any:
    return or_(schedules.c.lease_until.is_(None), schedules.c.lease_until < moment())


def any_due(connection: Connection) -> bool:
    """Return whether one is due that nobody runs."""
    due = select(schedules.c.name).where((schedules.c.next_at <= moment()) & _free()).limit(1)
    return connection.execute(due).first() is not None


def claim(connection: Connection, owner: str, lease_seconds: float, name: str | None) -> ScheduleRecord | None:
    """Return a schedule that is the owner's now: the longest due, or the one of that name."""
    if name is None:
        due = select(schedules.c.name).where((schedules.c.next_at <= moment()) & _free())
        name = connection.execute(due.order_by(schedules.c.next_at).limit(1)).scalar_one_or_none()
    taken = (
        update(schedules)
        .where((schedules.c.name == name) & _free())
        .values(owner=owner, lease_until=moment(lease_seconds))
        .returning(schedules)
    )
    row = connection.execute(taken).mappings().one_or_none()
    return None if row is None else ScheduleRecord.model_validate(row)


def renew(connection: Connection, name: str, owner: str, lease_seconds: float) -> bool:
    """Return whether the schedule is still the owner's."""
    own = (schedules.c.name == name) & (schedules.c.owner == owner)
    return connection.execute(update(schedules).where(own).values(lease_until=moment(lease_seconds))).rowcount > 0


def finish(connection: Connection, name: str, owner: str, next_at: datetime | None, outcome: str) -> bool:
    """Let the schedule go, with how its run went."""
    own = (schedules.c.name == name) & (schedules.c.owner == owner)
    ended = {"owner": None, "lease_until": None, "next_at": next_at, "last_at": moment(), "last_outcome": outcome}
    return connection.execute(update(schedules).where(own).values(**ended)).rowcount > 0
