"""The queries of people and their programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from worker.adapters.sql.attempts.fence import new_round
from worker.adapters.sql.errors import PROVISION
from worker.adapters.sql.parts.outbox import write_message
from worker.adapters.sql.parts.store import list_parts
from worker.adapters.sql.records import WHOLE_COLUMNS, whole_record
from worker.adapters.sql.revision import REVISION
from worker.adapters.sql.rows import of_document
from worker.adapters.sql.schema import (
    alembic_version,
    artifacts,
    attempts,
    identity,
    jobs,
    moment,
)
from worker.core.errors import InvalidJob, Misconfigured, Problem
from worker.core.ports import DatabaseFacts

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.core.job import Job
    from worker.core.record import JobRecord


def job(connection: Connection, job_id: str) -> JobRecord | None:
    """Return a job's record, whole."""
    whole = select(*(jobs.c[name] for name in WHOLE_COLUMNS)).where(jobs.c.job_id == job_id)
    row = connection.execute(whole).mappings().one_or_none()
    if row is None:
        return None
    tried = select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.epoch)
    made = select(artifacts).where(artifacts.c.job_id == job_id).order_by(artifacts.c.position)
    parts = list_parts(connection, job_id) if row["plan"] else ()
    return whole_record(row, connection.execute(tried).mappings(), connection.execute(made).mappings(), parts)


def identify(connection: Connection) -> str:
    """Return which database this is."""
    return str(connection.execute(select(identity.c.identity)).scalar_one())


def run_now(connection: Connection, job_id: str) -> bool:
    """Let a retrying job be claimed at once; return whether it was retrying."""
    retrying = (jobs.c.job_id == job_id) & (jobs.c.state == "retrying")
    return connection.execute(update(jobs).where(retrying).values(not_before=None)).rowcount > 0


def reopen(
    connection: Connection,
    job_id: str,
    digest: str | None,
    replaced: Job | None,
    route: tuple[str, str] | None,
    body: bytes | None,
) -> JobRecord:
    """Open a new round of a dead or cancelled job, and write its message; InvalidJob says why another cannot be."""
    values = new_round() | ({"digest": digest} if digest else {})
    if replaced is not None and route is not None:
        values |= of_document(replaced) | {"lane": route[0], "priority": route[1]}
    # Without a digest there is only a tombstone, and nothing to run.
    ready = jobs.c.state.in_(("dead", "cancelled")) & (jobs.c.digest != "")
    opened = connection.execute(
        update(jobs).where((jobs.c.job_id == job_id) & ready).values(**values).returning(jobs.c.job_id)
    )
    done = opened.one_or_none()
    record = job(connection, job_id)
    if done is not None and record is not None:
        if body is not None:
            write_message(connection, job_id, body, "queued")
        return record
    if record is None:
        raise InvalidJob([Problem("", f"there is no job {job_id}")])
    if record.state == "cancelled":
        raise InvalidJob([Problem("", f"the job {job_id} was cancelled before it came: submit it under another id")])
    raise InvalidJob([Problem("", f"the job {job_id} is {record.state}; only a dead or cancelled one can run again")])


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
