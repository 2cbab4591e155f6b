"""The fleet as the database sees it, and what outlives an attempt: kept files and callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import case, delete, exists, or_, select, update

from worker.adapters.sql.database import upsert
from worker.adapters.sql.fence import fenced
from worker.adapters.sql.rows import worker_record
from worker.adapters.sql.schema import attempts, jobs, kept, moment, workers
from worker.core.ports import Kept
from worker.core.record import TERMINAL, Wanted, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from worker.core.attempt import Attempt


def beat(connection: Connection, worker: WorkerRecord) -> Wanted:
    """Store a heartbeat; return what people want of the worker.

    A drain ends with the process that it meant: the next one begins to run, unless the drain came after its first
    word. A pause stays.
    """
    values: dict[str, Any] = worker.model_dump(exclude={"seen_at", "wanted"}) | {"seen_at": moment()}
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


def _wanted(text: str) -> Wanted:
    known: tuple[Wanted, ...] = get_args(Wanted)
    return next((word for word in known if word == text), "run")


def list_workers(connection: Connection, offline_after: float) -> list[WorkerRecord]:
    """Return the workers by name; those silent for `offline_after` seconds are `offline`."""
    silent = (workers.c.seen_at < moment(-offline_after)).label("silent")
    rows = connection.execute(select(workers, silent).order_by(workers.c.worker_id))
    return [worker_record(row, offline=bool(row.silent)) for row in rows]


def steer(connection: Connection, worker_id: str | None, wanted: Wanted) -> list[str]:
    """Ask one worker, or all; return the ids asked."""
    statement = update(workers).values(wanted=wanted).returning(workers.c.worker_id)
    if worker_id is not None:
        statement = statement.where(workers.c.worker_id == worker_id)
    return sorted(connection.execute(statement).scalars())


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


def callback_done(connection: Connection, job_id: str, *, ok: bool) -> None:
    """Note how the callback of an ended job went."""
    connection.execute(
        update(jobs)
        .where((jobs.c.job_id == job_id) & (jobs.c.callback_state == "pending"))
        .values(callback_state="done" if ok else "failed")
    )


def pending_callbacks(connection: Connection, older_than_seconds: float) -> list[str]:
    """Return jobs that ended at least so long ago and whose callback is still due, oldest first."""
    due = (jobs.c.callback_state == "pending") & (jobs.c.finished_at <= moment(-older_than_seconds))
    rows = connection.execute(select(jobs.c.job_id).where(due).order_by(jobs.c.finished_at))
    return list(rows.scalars())
