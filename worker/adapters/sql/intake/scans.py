"""Scans, and who runs one now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, or_, select, update

from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import scans
from worker.core.scanning import ScanRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from worker.adapters.sql.database import Database

_OPEN = ("waiting", "running")
_LISTED = tuple(column for column in scans.c if column.name not in {"result", "lease_until"})


class SqlScans:
    """`worker.core.ports.scans.ScanStore`, each method one transaction."""

    _database: Database

    async def add_scan(self, scan_id: str, document: Mapping[str, Any], most_waiting: int) -> ScanRecord | None:
        """Return a scan that waits now; None where so many wait or run already."""
        return await self._database.write(_add, scan_id, dict(document), most_waiting)

    async def scans(self, limit: int) -> list[ScanRecord]:
        """Return the newest scans first, without their results."""
        return await self._database.read(_list, limit)

    async def scan(self, scan_id: str) -> ScanRecord | None:
        """Return a scan with its result; None when there is none."""
        return await self._database.read(_one, scan_id)

    async def delete_scan(self, scan_id: str) -> bool:
        """Return whether there was one; whoever runs it ends."""
        return await self._database.write(_delete, scan_id)

    async def claim_scan(self, owner: str, lease_seconds: float) -> ScanRecord | None:
        """Return the oldest scan that nobody runs, now the owner's, its runs counted; None where all is done."""
        if not await self._database.read(_any_free):
            # Nobody waits for the writer while nothing is to be done.
            return None
        return await self._database.write(_claim, owner, lease_seconds)

    async def renew_scan(self, scan_id: str, owner: str, lease_seconds: float, progress: Mapping[str, Any]) -> bool:
        """Return whether the scan is still the owner's, for so long from now; its progress is noted."""
        return await self._database.write_relaxed(_renew, scan_id, owner, lease_seconds, dict(progress))

    async def finish_scan(
        self, scan_id: str, owner: str, result: Mapping[str, Any] | None, problem: str | None, keep: int
    ) -> bool:
        """End a scan, failed where there is a problem; return whether it was still the owner's."""
        return await self._database.write(_finish, scan_id, owner, result, problem, keep)


def _record(row: Any) -> ScanRecord:
    return ScanRecord.model_validate(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's documented way


def _add(connection: Connection, scan_id: str, document: dict[str, Any], most: int) -> ScanRecord | None:
    waiting = connection.execute(select(func.count()).select_from(scans).where(scans.c.state.in_(_OPEN)))
    if waiting.scalar_one() >= most:
        return None
    values = {"document": document, "state": "waiting", "created_at": moment(), "runs": 0, "progress": {}}
    connection.execute(insert(scans).values(scan_id=scan_id, **values))
    return _one(connection, scan_id)


def _list(connection: Connection, limit: int) -> list[ScanRecord]:
    newest = select(*_LISTED).order_by(scans.c.created_at.desc(), scans.c.scan_id).limit(limit)
    return [_record(row) for row in connection.execute(newest)]


def _one(connection: Connection, scan_id: str) -> ScanRecord | None:
    row = connection.execute(select(*_LISTED, scans.c.result).where(scans.c.scan_id == scan_id)).one_or_none()
    return None if row is None else _record(row)


def _delete(connection: Connection, scan_id: str) -> bool:
    return connection.execute(delete(scans).where(scans.c.scan_id == scan_id)).rowcount > 0


def _free() -> Any:
    return scans.c.state.in_(_OPEN) & or_(scans.c.lease_until.is_(None), scans.c.lease_until < moment())


def _any_free(connection: Connection) -> bool:
    return connection.execute(select(scans.c.scan_id).where(_free()).limit(1)).first() is not None


def _claim(connection: Connection, owner: str, lease_seconds: float) -> ScanRecord | None:
    oldest = select(scans.c.scan_id).where(_free()).order_by(scans.c.created_at).limit(1)
    scan_id = connection.execute(oldest).scalar_one_or_none()
    taken = connection.execute(
        update(scans)
        .where((scans.c.scan_id == scan_id) & _free())
        .values(
            state="running",
            owner=owner,
            lease_until=moment(lease_seconds),
            started_at=func.coalesce(scans.c.started_at, moment()),
            runs=scans.c.runs + 1,
        )
    )
    return _one(connection, scan_id) if scan_id is not None and taken.rowcount else None


def _is_held_by(scan_id: str, owner: str) -> Any:
    return (scans.c.scan_id == scan_id) & (scans.c.owner == owner) & (scans.c.state == "running")


def _renew(connection: Connection, scan_id: str, owner: str, lease_seconds: float, progress: Mapping[str, Any]) -> bool:
    values = {"lease_until": moment(lease_seconds), "progress": progress}
    return connection.execute(update(scans).where(_is_held_by(scan_id, owner)).values(**values)).rowcount > 0


def _finish(
    connection: Connection,
    scan_id: str,
    owner: str,
    result: Mapping[str, Any] | None,
    problem: str | None,
    keep: int,
) -> bool:
    values = {
        "state": "failed" if problem is not None else "completed",
        "owner": None,
        "lease_until": None,
        "ended_at": moment(),
        "result": result,
        "problem": problem,
    }
    ended = connection.execute(update(scans).where(_is_held_by(scan_id, owner)).values(**values)).rowcount > 0
    done = scans.c.state.not_in(_OPEN)
    kept = select(scans.c.scan_id).where(done).order_by(scans.c.ended_at.desc(), scans.c.scan_id).limit(keep)
    newest = connection.execute(kept).scalars().all()
    connection.execute(delete(scans).where(done & scans.c.scan_id.not_in(newest)))
    return ended
