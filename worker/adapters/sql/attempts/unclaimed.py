"""The statements of a worker about a job that it has not claimed: it is dead, or this worker cannot do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from worker.adapters.sql.attempts.fence import blame, close_attempt, ended
from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.parts.store import lock_parent, part_ended
from worker.adapters.sql.records import refusals_of
from worker.adapters.sql.rows import fresh_row
from worker.adapters.sql.schema import LIVE, jobs, moment
from worker.core.errors import IdReused
from worker.core.ports import Declined
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from worker.core.attempt import Failure
    from worker.core.job import Job

_NO_EPOCH: Final = -1
"""An epoch that no row has: a copy that waits for it waits for nobody."""


def require_same_job(connection: Connection, job: Job, digest: str, row: Row[*tuple[Any, ...]]) -> None:
    """Raise IdReused where a message has the id of a row, `row`, that is of another job.

    `retry` publishes the stored document, whose bytes are ours and not the publisher's; the first message may still
    wait somewhere. A tombstone has no body.
    """
    if row.digest == digest or (row.state == "cancelled" and not row.digest):
        return
    stored = select(jobs.c.document).where(jobs.c.job_id == job.job_id)
    if connection.execute(stored).scalar_one() != job.document():
        raise IdReused(f"the id {job.job_id} belongs to a job with another body, which is {row.state}")


def bury_unclaimed(connection: Connection, job: Job, digest: str, lane: str, priority: str, failure: Failure) -> None:
    """Record dead a job that no attempt ran; what has ended or is being run stays as it is.

    Raises IdReused where the id belongs to another job, which stays as it is.
    """
    parent = lock_parent(connection, job.part.job if job.part else None)
    if _own_row(connection, job, digest, lane, priority) is None:
        return
    here = jobs.c.job_id == job.job_id
    idle = jobs.c.state.not_in((*TERMINAL, *LIVE)) | (jobs.c.state.in_(LIVE) & (jobs.c.lease_until <= moment()))
    buried = connection.execute(
        update(jobs).where(here & idle).values(**(ended("dead") | blame(failure))).returning(jobs.c.epoch)
    )
    epoch = buried.scalar_one_or_none()
    if epoch is None:
        # It may have been the copy that waits, which is dead now: another one has to.
        connection.execute(update(jobs).where(here).values(standby=None))
    else:
        close_attempt(connection, job.job_id, epoch, "crashed", failure.message, failure.error_type)
        part_ended(connection, parent, job.job_id)


def decline(
    connection: Connection, job: Job, digest: str, route: tuple[str, str], worker: str, standby: str, lacking: str
) -> Declined:
    """Note that `worker` cannot do the job; return who said so in all, and how long ago the first did.

    Raises IdReused where the id belongs to another job.
    """
    row = _own_row(connection, job, digest, *route)
    if row is None:
        return Declined(frozenset({worker}), 0.0, _NO_EPOCH)
    has_standby = row.standby is not None and row.standby != standby
    if not row.waits:
        return Declined(frozenset({worker}), 0.0, row.epoch, has_standby)
    since = row.unserved_since or row.now
    refusing = refusals_of(row.refused_by) | {worker: lacking}
    here = jobs.c.job_id == job.job_id
    connection.execute(update(jobs).where(here).values(refused_by=refusing, unserved_since=since))
    return Declined(frozenset(refusing), max(0.0, (row.now - since).total_seconds()), row.epoch, has_standby)


def _own_row(connection: Connection, job: Job, digest: str, lane: str, priority: str) -> Row[*tuple[Any, ...]] | None:
    """Return the job's row, locked, which is inserted where nobody has recorded the job yet.

    Only a plan makes the rows of parts: None where the message is of no part, or of a part of an earlier plan.
    """
    if job.part is None:
        values = fresh_row(job, digest, lane, priority)
        connection.execute(upsert(connection, jobs).values(**values).on_conflict_do_nothing())
    # One whose worker fell silent waits too, and the others may all lack what it needs.
    silent = jobs.c.state.in_(LIVE) & (jobs.c.lease_until <= moment())
    waits = (jobs.c.state.in_(("queued", "retrying")) | silent).label("waits")
    columns = (jobs.c.state, jobs.c.digest, jobs.c.refused_by, jobs.c.unserved_since, jobs.c.standby, jobs.c.epoch)
    asked = select(*columns, waits, moment().label("now")).where(jobs.c.job_id == job.job_id).with_for_update()
    row = connection.execute(asked).one_or_none()
    if job.part is not None:
        return row if row is not None and row.digest == digest else None
    if row is not None:
        require_same_job(connection, job, digest, row)
    return row
