"""Divided jobs: what a plan writes, and what the end of a part means for its job, in the transaction that ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, update

from worker.adapters.sql.attempts.fence import blame, close_attempt, ended, fenced, new_round
from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.parts.copies import copy_part, end_copies, slow_parts
from worker.adapters.sql.parts.files import ended_with_parts, forget_part_files, part_files
from worker.adapters.sql.parts.outbox import body_of, outbox_of, published, unpublished, write_message
from worker.adapters.sql.records import PART_COLUMNS, part_records
from worker.adapters.sql.rows import fresh_row, of_document, uri_key
from worker.adapters.sql.schema import LIVE, artifacts, attempts, jobs, moment
from worker.core.attempt import Failure
from worker.core.errors import IdReused, JobCancelled, LeaseLost
from worker.core.media_types import media_type_of
from worker.core.parts import part_id
from worker.core.ports.parts import KnownPlan, MadePart, OutboxMessage, PlannedPart, SlowPart

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from worker.adapters.sql.database import Database
    from worker.core.attempt import Attempt
    from worker.core.record import PartRecord

PLAN_FAULTS: Final = frozenset({"PlanBroken", "VerificationFailed", "Unserved"})
"""Errors of a part that are its plan's: the job goes on without it."""
_IDLE: Final = ("queued", "retrying")
_COUNTS: Final = jobs.c.state.in_((*_IDLE, *LIVE, "completed"))


class SqlParts:
    """`worker.core.ports.PartStore`, each method one transaction."""

    _database: Database

    async def known_plan(self, job_id: str) -> KnownPlan:
        """Return what is known of a job's division."""
        return await self._database.read(known_plan, job_id)

    async def divide(
        self,
        attempt: Attempt,
        plan: Mapping[str, Any],
        parts: Sequence[PlannedPart],
        still_there: Collection[int],
        shared: Sequence[MadePart] = (),
    ) -> None:
        """Let the job wait for its parts; their messages are in the outbox."""
        made = {one.index: one for one in shared}
        await self._database.write_many(
            len(parts), lambda connection: divide(connection, attempt, plan, parts, frozenset(still_there), made)
        )

    async def parts(self, job_id: str) -> list[PartRecord]:
        """Return the parts of a divided job, in order."""
        return await self._database.read(list_parts, job_id)

    async def slow_parts(self, worker: str, lanes: Collection[str], seconds: float) -> list[SlowPart]:
        """Return the parts that others than `worker` make for over `seconds`, far longer than their neighbours took."""
        return await self._database.read(slow_parts, worker, lanes, seconds)

    async def copy_part(self, slow: SlowPart, planned: PlannedPart) -> bool:
        """Return whether a second copy of a part was queued."""
        return await self._database.write(copy_part, slow, planned)

    async def outbox(self, older_than_seconds: float, limit: int) -> list[OutboxMessage]:
        """Return the oldest messages that nobody has noted as published."""
        return await self._database.read(unpublished, older_than_seconds, limit)

    async def published(self, numbers: Collection[int]) -> None:
        """Note that messages of the outbox are published."""
        await self._database.write(published, numbers)

    async def outbox_of(self, job_id: str) -> list[int]:
        """Return the numbers of a job's messages that nobody has noted as published."""
        return await self._database.read(outbox_of, job_id)

    async def ended_with_parts(self, dead_seconds: float) -> list[str]:
        """Return the ended jobs whose parts have files; a dead one's may be used again for `dead_seconds`."""
        return await self._database.read(ended_with_parts, dead_seconds)

    async def part_files(self, job_id: str) -> list[tuple[str, str]]:
        """Return the id of the part and the URI of each file that parts of a job have made or announced."""
        return await self._database.read(part_files, job_id)

    async def forget_part_files(self, job_id: str) -> None:
        """Note that the files of a job's parts are gone."""
        await self._database.write(forget_part_files, job_id)


def known_plan(connection: Connection, job_id: str) -> KnownPlan:
    """Return the stored plan, why it failed, the parts that are made, and how often the job was divided."""
    stored = connection.execute(select(jobs.c.plan).where(jobs.c.job_id == job_id)).scalar_one_or_none()
    if not stored:
        return KnownPlan()
    found = connection.execute(
        select(jobs.c.part_index, jobs.c.part_key, artifacts.c.uri, artifacts.c.bytes, artifacts.c.sha256)
        .join(artifacts, artifacts.c.job_id == jobs.c.job_id)
        .where((jobs.c.parent_id == job_id) & (jobs.c.state == "completed") & (artifacts.c.role == "part"))
        .order_by(jobs.c.part_index)
    )
    made = tuple(MadePart(*row) for row in found)
    return KnownPlan(stored.get("plan"), stored.get("broken"), made, _divisions(connection, job_id))


def _divisions(connection: Connection, job_id: str) -> int:
    """Return how many attempts of a job's present round divided it."""
    present = select(jobs.c.round).where(jobs.c.job_id == job_id).scalar_subquery()
    ours = (attempts.c.job_id == job_id) & (attempts.c.round == present) & (attempts.c.outcome == "divided")
    return int(connection.execute(select(func.count()).where(ours)).scalar_one())


def divide(
    connection: Connection,
    attempt: Attempt,
    plan: Mapping[str, Any],
    parts: Sequence[PlannedPart],
    still_there: frozenset[int],
    shared: Mapping[int, MadePart],
) -> None:
    """Let the job wait for the parts that are neither `still_there` nor `shared`; rows of an older plan end."""
    parent = attempt.job.job_id
    values = {"state": "waiting", "lease_until": None, "plan": {"plan": dict(plan), "broken": None}}
    try:
        cancel = fenced(connection, attempt, values)
    except LeaseLost:
        if finish_was_recorded(connection, attempt):
            return
        raise
    if cancel:
        raise JobCancelled(f"the job {parent} was cancelled before it was divided")
    close_attempt(connection, parent, attempt.epoch, "divided")
    route = connection.execute(select(jobs.c.lane, jobs.c.priority).where(jobs.c.job_id == parent)).one()
    found = connection.execute(_rows_of(parent)).all()
    rows = {row.part_index: row for row in found if row.job_id == part_id(parent, row.part_index)}
    copies = [row for row in found if row.job_id != part_id(parent, row.part_index)]
    end_copies(connection, [row.job_id for row in copies if row.part_index not in still_there])
    for planned in parts:
        if planned.part.index not in still_there:
            ours = shared.get(planned.part.index)
            _enter_part(connection, planned, rows.get(planned.part.index), (route.lane, route.priority), parent, ours)
    surplus = [row.job_id for index, row in rows.items() if index >= len(parts)]
    if surplus:
        _stop(connection, jobs.c.job_id.in_(surplus))


def finish_was_recorded(connection: Connection, attempt: Attempt) -> bool:
    """Return whether this very attempt divided its job: the answer to its first statement may have been lost."""
    tried = (attempts.c.job_id == attempt.job.job_id) & (attempts.c.epoch == attempt.epoch)
    ours = tried & (attempts.c.worker == attempt.worker)
    outcome = connection.execute(select(attempts.c.outcome).where(ours)).scalar_one_or_none()
    return outcome == "divided"


def _rows_of(parent: str) -> Any:
    return (
        select(jobs.c.job_id, jobs.c.part_index, jobs.c.part_key, jobs.c.state, jobs.c.digest)
        .where(jobs.c.parent_id == parent)
        .order_by(jobs.c.part_index)
        .with_for_update()
    )


def _enter_part(
    connection: Connection,
    planned: PlannedPart,
    row: Row[*tuple[Any, ...]] | None,
    route: tuple[str, str],
    parent: str,
    made: MadePart | None,
) -> None:
    """Insert or open again the row of a part, and write its message; or that it is made."""
    part, job = planned.part, planned.job
    own = {"parent_id": parent, "part_index": part.index, "part_key": part.key, "part_frames": part.frames}
    own |= {} if made is None else {"state": "completed", "finished_at": moment()}
    if row is None:
        values = fresh_row(job, planned.digest, *route) | own
        # A tombstone may have been there before.
        mine = upsert(connection, jobs).values(**values)
        taken = mine.on_conflict_do_update(
            index_elements=["job_id"], set_={"finished_at": None} | values, where=jobs.c.digest == ""
        )
        if connection.execute(taken.returning(jobs.c.job_id)).one_or_none() is None:
            raise IdReused(f"the id {job.job_id} of a part is taken by another job")
    elif row.part_key == part.key and row.state in LIVE:
        # It is being made at this moment, and nothing of it has changed.
        connection.execute(update(jobs).where(jobs.c.job_id == row.job_id).values(cancel_requested=False))
        return
    else:
        values = new_round() | own | of_document(job) | {"digest": planned.digest, "lane": route[0]}
        connection.execute(update(jobs).where(jobs.c.job_id == row.job_id).values(**values, priority=route[1]))
        connection.execute(delete(artifacts).where(artifacts.c.job_id == row.job_id))
        close_attempt_of(connection, row.job_id)
    if made is None:
        write_message(connection, job.job_id, planned.body, "queued")
        return
    file = {"uri": made.uri, "uri_key": uri_key(made.uri), "bytes": made.bytes, "sha256": made.sha256}
    kind = {"position": 0, "role": "part", "media_type": media_type_of(part.file)}
    connection.execute(insert(artifacts).values(job_id=job.job_id, **file, **kind))


def close_attempt_of(connection: Connection, job_id: str) -> None:
    """Close an attempt that is open although its job has been planned anew."""
    epoch = connection.execute(select(jobs.c.epoch).where(jobs.c.job_id == job_id)).scalar_one()
    close_attempt(connection, job_id, epoch, "interrupted", "its job was planned again")


def lock_parent(connection: Connection, job_id: str | None) -> Row[*tuple[Any, ...]] | None:
    """Return the row of a divided job, locked: before its parts', everywhere, so that no two transactions cross."""
    if job_id is None:
        return None
    wanted = select(jobs.c.job_id, jobs.c.state, jobs.c.plan, jobs.c.document)
    return connection.execute(wanted.where(jobs.c.job_id == job_id).with_for_update()).one_or_none()


def part_ended(connection: Connection, parent: Row[*tuple[Any, ...]] | None, job_id: str) -> None:
    """Do what the end of a part means: the last one queues the join, a dead one ends its job or its plan.

    To be called in the transaction that ended it, with its job locked before.
    """
    if parent is None or parent.state != "waiting":
        return
    part = connection.execute(
        select(jobs.c.state, jobs.c.part_index, jobs.c.error, jobs.c.error_type, jobs.c.error_worker, jobs.c.document)
        .where(jobs.c.job_id == job_id)
    ).one()  # fmt: skip
    others = (jobs.c.parent_id == parent.job_id) & (jobs.c.part_index == part.part_index) & (jobs.c.job_id != job_id)
    match part.state:
        case "completed":
            _stop(connection, others)
            _join_if_last(connection, parent)
        case "dead" | "cancelled" if connection.execute(select(jobs.c.job_id).where(others & _COUNTS)).first():
            # The other copy of it was first, or is being made.
            return
        case "dead":
            _part_died(connection, parent, part)
        case "cancelled":
            # Its job still waits for it: only a job can be cancelled, not a part of it.
            connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**new_round()))
            write_message(connection, job_id, body_of(part.document), "queued")


def _join_if_last(connection: Connection, parent: Row[*tuple[Any, ...]]) -> None:
    count = len(parent.plan["plan"]["parts"])
    mine = (jobs.c.parent_id == parent.job_id) & (jobs.c.part_index < count)
    made = connection.execute(
        select(func.count(jobs.c.part_index.distinct())).where(mine & (jobs.c.state == "completed"))
    ).scalar_one()
    if made == count:
        _queue_parent(connection, parent, {})


def _part_died(connection: Connection, parent: Row[*tuple[Any, ...]], part: Row[*tuple[Any, ...]]) -> None:
    count = len(parent.plan["plan"]["parts"])
    message = f"part {part.part_index + 1} of {count}: {part.error}"
    _stop(connection, (jobs.c.parent_id == parent.job_id) & (jobs.c.part_index != part.part_index))
    if part.error_type in PLAN_FAULTS:
        _queue_parent(connection, parent, {"plan": parent.plan | {"broken": message}})
        return
    failure = Failure(message, part.error_type or "", part.error_worker or "", 0)
    values = ended("dead") | blame(failure)
    connection.execute(update(jobs).where(jobs.c.job_id == parent.job_id).values(**values))
    # Whoever gets it finds the job dead, and lets it die in the broker like any other.
    write_message(connection, parent.job_id, body_of(parent.document), "dead")


def _queue_parent(connection: Connection, parent: Row[*tuple[Any, ...]], more: dict[str, Any]) -> None:
    values = {"state": "queued", **more}
    connection.execute(update(jobs).where(jobs.c.job_id == parent.job_id).values(**values))
    write_message(connection, parent.job_id, body_of(parent.document), "queued")


def stop_parts(connection: Connection, parent_id: str) -> None:
    """Cancel the parts of a job that has ended."""
    _stop(connection, jobs.c.parent_id == parent_id)


def _stop(connection: Connection, which: Any) -> None:
    connection.execute(update(jobs).where(which & jobs.c.state.in_(_IDLE)).values(**ended("cancelled")))
    connection.execute(update(jobs).where(which & (jobs.c.state == "running")).values(cancel_requested=True))


def list_parts(connection: Connection, job_id: str) -> list[PartRecord]:
    """Return the parts of a job, each once; those that only an older plan had are among them."""
    rows = select(*(jobs.c[name] for name in PART_COLUMNS)).where(jobs.c.parent_id == job_id)
    return part_records(connection.execute(rows.order_by(jobs.c.part_index, jobs.c.job_id)).mappings())
