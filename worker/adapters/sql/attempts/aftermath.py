"""Kept files and callbacks, which outlive their attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, or_, select, update

from worker.adapters.sql.attempts.fence import fenced
from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import attempts, jobs, kept, moment
from worker.core.ports import Kept
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from worker.core.attempt import Attempt


def keep(
    connection: Connection, attempt: Attempt, folder: str, files: Sequence[dict[str, Any]], seconds: float
) -> None:
    """Note that this attempt's files stay in `folder`, so that a retry on this worker need not make them again."""
    fenced(connection, attempt, {"owner": attempt.worker})
    values = {"epoch": attempt.epoch, "folder": folder, "artifacts": list(files), "expires_at": moment(seconds)}
    connection.execute(
        upsert(connection, kept)
        .values(job_id=attempt.job.job_id, worker=attempt.worker, **values)
        .on_conflict_do_update(index_elements=[kept.c.job_id, kept.c.worker], set_=values)
    )


_USELESS = or_(
    kept.c.expires_at <= moment(),
    jobs.c.state.in_(TERMINAL),
    # Somebody else has run it since: what is kept may be older than what they published.
    exists().where(
        attempts.c.job_id == kept.c.job_id, attempts.c.epoch > kept.c.epoch, attempts.c.worker != kept.c.worker
    ),
)


def find_kept(connection: Connection, job_id: str, worker: str) -> Kept | None:
    """Return what `worker` still has of a job that has not ended and ran nowhere else since."""
    found = select(kept).join(jobs, jobs.c.job_id == kept.c.job_id)
    found = found.where((kept.c.job_id == job_id) & (kept.c.worker == worker) & ~_USELESS)
    row = connection.execute(found).one_or_none()
    return None if row is None else _kept(row)


def expired_kept(connection: Connection, worker: str) -> list[Kept]:
    """Return what `worker` need not keep any longer."""
    found = select(kept).join(jobs, jobs.c.job_id == kept.c.job_id).where((kept.c.worker == worker) & _USELESS)
    return [_kept(row) for row in connection.execute(found.order_by(kept.c.job_id))]


def kept_folders(connection: Connection) -> list[str]:
    """Return every kept folder that still serves: a worker that never comes back gives none up by itself."""
    found = select(kept.c.folder).join(jobs, jobs.c.job_id == kept.c.job_id).where(~_USELESS)
    return list(connection.execute(found.order_by(kept.c.folder)).scalars())


def drop_kept(connection: Connection, job_id: str, worker: str | None) -> None:
    """Forget what one worker, or every one, keeps of a job."""
    statement = delete(kept).where(kept.c.job_id == job_id)
    connection.execute(statement if worker is None else statement.where(kept.c.worker == worker))


def _kept(row: Any) -> Kept:
    return Kept(row.job_id, row.epoch, row.worker, row.folder, tuple(row.artifacts))


def callback_done(connection: Connection, job_id: str, *, error: str | None = None) -> None:
    """Record how the callback of an ended job went."""
    connection.execute(
        update(jobs)
        .where((jobs.c.job_id == job_id) & (jobs.c.callback_state == "pending"))
        .values(callback_state="failed" if error else "done", callback_error=error)
    )


def pending_callbacks(connection: Connection, older_than_seconds: float, limit: int) -> list[tuple[str, str]]:
    """Return id and URL of callbacks that are due for at least so long: a handful by chance, few of one URL.

    By chance, so that workers that ask at once get others, and nobody's thousands delay the rest for ever.
    """
    due = (jobs.c.callback_state == "pending") & (jobs.c.finished_at <= moment(-older_than_seconds))
    place = func.row_number().over(partition_by=jobs.c.callback_url, order_by=jobs.c.finished_at).label("place")
    found = select(jobs.c.job_id, jobs.c.callback_url, place).where(due).subquery()
    chosen = select(found.c.job_id, found.c.callback_url).where(found.c.place <= max(1, limit // 10))
    rows = connection.execute(chosen.order_by(func.random()).limit(limit))
    return [(row.job_id, row.callback_url or "") for row in rows]
