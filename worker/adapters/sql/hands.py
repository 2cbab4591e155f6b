"""What people and their programs ask of the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from worker.adapters.sql.database import upsert
from worker.adapters.sql.errors import PROVISION
from worker.adapters.sql.fence import new_round
from worker.adapters.sql.rows import LISTED, job_record
from worker.adapters.sql.schema import (
    REVISION,
    alembic_version,
    artifacts,
    attempts,
    jobs,
    moment,
    option_sets,
    refusals,
)
from worker.core.errors import InvalidJob, Misconfigured, Problem
from worker.core.ports import DatabaseFacts
from worker.core.record import JobRecord, OptionSet, RefusalRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection


def job(connection: Connection, job_id: str) -> JobRecord | None:
    """Return a job's record, whole."""
    row = connection.execute(select(*LISTED, jobs.c.document).where(jobs.c.job_id == job_id)).one_or_none()
    if row is None:
        return None
    tried = select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.epoch)
    made = select(artifacts).where(artifacts.c.job_id == job_id).order_by(artifacts.c.position)
    return job_record(row, connection.execute(tried).all(), connection.execute(made).all(), row.document)


def list_jobs(
    connection: Connection,
    state: str | None,
    limit: int,
    lane: str | None = None,
    worker: str | None = None,
    since: float | None = None,
) -> list[JobRecord]:
    """Return the newest jobs first, in one statement."""
    newest = select(*LISTED).order_by(jobs.c.created_at.desc(), jobs.c.job_id).limit(limit)
    if state is not None:
        newest = newest.where(jobs.c.state == state)
    if lane is not None:
        newest = newest.where(jobs.c.lane == lane)
    if worker is not None:
        had = select(attempts.c.job_id).where((attempts.c.job_id == jobs.c.job_id) & (attempts.c.worker == worker))
        newest = newest.where(had.exists())
    if since is not None:
        newest = newest.where(jobs.c.created_at >= moment(-since))
    return [job_record(row) for row in connection.execute(newest)]


def counts(connection: Connection) -> dict[str, int]:
    """Return how many jobs are in each state that has one."""
    rows = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    return {state: number for state, number in rows}  # noqa: C416 - dict() of rows is untyped


def reopen(connection: Connection, job_id: str, digest: str | None) -> JobRecord:
    """Open a new round of a dead or cancelled job; InvalidJob says why another one cannot be."""
    values = new_round() | ({"digest": digest} if digest else {})
    # Without a digest there is only a tombstone, and nothing to run.
    ready = jobs.c.state.in_(("dead", "cancelled")) & (jobs.c.digest != "")
    opened = connection.execute(
        update(jobs).where((jobs.c.job_id == job_id) & ready).values(**values).returning(jobs.c.job_id)
    )
    done = opened.one_or_none()
    record = job(connection, job_id)
    if done is not None and record is not None:
        return record
    if record is None:
        raise InvalidJob([Problem("", f"there is no job {job_id}")])
    if record.state == "cancelled":
        raise InvalidJob([Problem("", f"the job {job_id} was cancelled before it came: submit it under another id")])
    raise InvalidJob([Problem("", f"the job {job_id} is {record.state}; only a dead or cancelled one can run again")])


def refuse(connection: Connection, refusal: RefusalRecord) -> None:
    """Record a message that never became a job; the same message again renews its row."""
    values = refusal.model_dump() | {"message_id": refusal.message_id or ""}
    connection.execute(
        upsert(connection, refusals)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[refusals.c.body_sha256, refusals.c.message_id],
            set_={name: value for name, value in values.items() if name not in {"body_sha256", "message_id"}},
        )
    )


def list_refusals(connection: Connection, limit: int) -> list[RefusalRecord]:
    """Return the newest refusals first."""
    rows = connection.execute(select(refusals).order_by(refusals.c.refused_at.desc()).limit(limit))
    return [
        RefusalRecord.model_validate(dict(row) | {"message_id": row["message_id"] or None}) for row in rows.mappings()
    ]


def forget_refusals(connection: Connection, body_sha256: str | None) -> int:
    """Delete the refusals of one body, or all; return how many."""
    statement = delete(refusals)
    if body_sha256 is not None:
        statement = statement.where(refusals.c.body_sha256 == body_sha256)
    return connection.execute(statement).rowcount


def option_set(connection: Connection, module: str, name: str) -> OptionSet | None:
    """Return one option set."""
    found = select(option_sets).where((option_sets.c.module == module) & (option_sets.c.name == name))
    row = connection.execute(found).mappings().one_or_none()
    return None if row is None else OptionSet.model_validate(row)


def list_option_sets(connection: Connection, module: str | None) -> list[OptionSet]:
    """Return all option sets, or one module's, by module and name."""
    stored = select(option_sets).order_by(option_sets.c.module, option_sets.c.name)
    if module is not None:
        stored = stored.where(option_sets.c.module == module)
    return [OptionSet.model_validate(row) for row in connection.execute(stored).mappings()]


def put_option_set(connection: Connection, chosen: OptionSet) -> None:
    """Store or replace one."""
    connection.execute(
        upsert(connection, option_sets)
        .values(**chosen.model_dump())
        .on_conflict_do_update(
            index_elements=[option_sets.c.module, option_sets.c.name], set_={"options": chosen.options}
        )
    )


def delete_option_set(connection: Connection, module: str, name: str) -> bool:
    """Return whether there was one."""
    gone = connection.execute(
        delete(option_sets).where((option_sets.c.module == module) & (option_sets.c.name == name))
    )
    return gone.rowcount > 0


def check(connection: Connection) -> None:
    """Return if the schema is the newest; Misconfigured names the command otherwise."""
    found = connection.execute(select(alembic_version.c.version_num)).scalar_one_or_none()
    if found == REVISION:
        return
    if found is not None and found > REVISION:
        raise Misconfigured(
            f"the database is at revision {found}, newer than this worker's {REVISION}: install the newer Leveret"
        )
    raise Misconfigured(f"the database is at revision {found or 'none'}, this worker needs {REVISION}: {PROVISION}")


def facts(connection: Connection) -> DatabaseFacts:
    """Return the product, its version, and how far its clock is ahead of ours, half of the question's way given off."""
    before = datetime.now(UTC)
    clock: datetime = connection.execute(select(moment())).scalar_one()
    after = datetime.now(UTC)
    ahead = (clock - (before + (after - before) / 2)).total_seconds()
    return DatabaseFacts(
        connection.dialect.name, tuple(int(part) for part in connection.dialect.server_version_info or ()), ahead
    )
