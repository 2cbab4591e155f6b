"""The store of workers: their heartbeats, and what operators want of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import case, delete, select, update

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.records import worker_record
from worker.adapters.sql.schema import moment, workers
from worker.core.record import Wanted, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from worker.adapters.sql.database import Database


class SqlFleet:
    """`worker.core.ports.FleetStore`, each method one transaction."""

    _database: Database

    async def beat(self, worker: WorkerRecord, instance: str = "") -> Wanted:
        """Store a heartbeat of the process `instance`; return what people want of the worker."""
        return await self._database.write_relaxed(beat, worker, instance)

    async def namesake(self, worker_id: str, instance: str, seconds: float) -> str | None:
        """Return the host and pid of another process than `instance` that reported under a name within `seconds`."""
        return await self._database.read(find_namesake, worker_id, instance, seconds)

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return the workers; those silent for `offline_after` seconds are `offline`."""
        return await self._database.read(list_workers, offline_after)

    async def steer(self, worker_id: str | None, wanted: Wanted, silent_seconds: float | None = None) -> list[str]:
        """Ask one worker, or all that were not silent for so long, to run, pause or drain; return the ids asked."""
        return await self._database.write(steer, worker_id, wanted, silent_seconds)

    async def forget_workers(self, worker_ids: Sequence[str], silent_seconds: float) -> list[str]:
        """Delete those of these workers that were silent for so long; return their ids."""
        return await self._database.write(forget_workers, worker_ids, silent_seconds)


def beat(connection: Connection, worker: WorkerRecord, instance: str) -> Wanted:
    """Store a heartbeat; return what people want of the worker.

    A drain ends with the process that it meant: the next one begins to run, unless the drain came after its first
    word. A pause stays.
    """
    values: dict[str, Any] = worker.model_dump(exclude={"seen_at", "wanted"}) | {
        "instance": instance,
        "seen_at": moment(),
    }
    statement = upsert(connection, workers).values(**values, wanted="run")
    begins = (statement.excluded.status == "startup") & (workers.c.status != "startup")
    drained = begins & (workers.c.wanted == "drain")
    wanted = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[workers.c.worker_id],
            set_={name: statement.excluded[name] for name in values if name != "worker_id"}
            | {"wanted": case((drained, "run"), else_=workers.c.wanted)},
        ).returning(workers.c.wanted)
    )
    return _wanted(wanted.scalar_one())


def find_namesake(connection: Connection, worker_id: str, instance: str, seconds: float) -> str | None:
    """Return the host and pid of another worker of this name; one that has said that it goes counts no more."""
    other = (workers.c.worker_id == worker_id) & workers.c.instance.not_in(("", instance))
    alive = (workers.c.seen_at >= moment(-seconds)) & (workers.c.status != "offline")
    row = connection.execute(select(workers.c.hostname, workers.c.pid).where(other & alive)).one_or_none()
    return None if row is None else f"{row.hostname} pid {row.pid}"


def _wanted(text: str) -> Wanted:
    known: tuple[Wanted, ...] = get_args(Wanted)
    return next((word for word in known if word == text), "run")


def list_workers(connection: Connection, offline_after: float) -> list[WorkerRecord]:
    """Return the workers by name; those silent for `offline_after` seconds are `offline`."""
    silent = (workers.c.seen_at < moment(-offline_after)).label("silent")
    rows = connection.execute(select(workers, silent).order_by(workers.c.worker_id)).mappings()
    return [worker_record(row, offline=bool(row["silent"])) for row in rows]


def steer(connection: Connection, worker_id: str | None, wanted: Wanted, silent_seconds: float | None) -> list[str]:
    """Ask one worker, or all that were not silent for so long; return the ids asked."""
    statement = update(workers).values(wanted=wanted).returning(workers.c.worker_id)
    if worker_id is not None:
        statement = statement.where(workers.c.worker_id == worker_id)
    elif silent_seconds is not None:
        statement = statement.where(workers.c.seen_at >= moment(-silent_seconds))
    return sorted(connection.execute(statement).scalars())


def forget_workers(connection: Connection, worker_ids: Sequence[str], silent_seconds: float) -> list[str]:
    """Delete those of these workers that were silent for so long; return their ids."""
    silent = workers.c.worker_id.in_(worker_ids) & (workers.c.seen_at < moment(-silent_seconds))
    return sorted(connection.execute(delete(workers).where(silent).returning(workers.c.worker_id)).scalars())
