"""The logs of tools: one bounded text an attempt."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import attempts, job_logs, moment
from worker.core.record import LogRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.core.attempt import Attempt

KEPT_ATTEMPTS: Final = 10
"""The number of a job's newest attempts that keep their logs."""


def store_log(connection: Connection, attempt: Attempt, text: bytes) -> None:
    """Keep the attempt's log in place of what was kept of it, and let those of long ago go."""
    job_id, epoch = attempt.job.job_id, attempt.epoch
    connection.execute(
        upsert(connection, job_logs)
        .values(job_id=job_id, epoch=epoch, content=text, updated_at=moment())
        .on_conflict_do_update(
            index_elements=[job_logs.c.job_id, job_logs.c.epoch], set_={"content": text, "updated_at": moment()}
        )
    )
    old = (job_logs.c.job_id == job_id) & (job_logs.c.epoch <= epoch - KEPT_ATTEMPTS)
    connection.execute(delete(job_logs).where(old))


def log(connection: Connection, job_id: str, number: int | None) -> LogRecord | None:
    """Return the newest log of a job, or of its newest attempt with that number."""
    tried = (attempts.c.job_id == job_logs.c.job_id) & (attempts.c.epoch == job_logs.c.epoch)
    newest = (
        select(job_logs, attempts.c.round, attempts.c.number, attempts.c.worker, attempts.c.ended_at)
        .join(attempts, tried)
        .where(job_logs.c.job_id == job_id)
        .order_by(job_logs.c.epoch.desc())
        .limit(1)
    )
    if number is not None:
        newest = newest.where(attempts.c.number == number)
    row = connection.execute(newest).mappings().one_or_none()
    if row is None:
        return None
    facts = {name: row[name] for name in ("job_id", "epoch", "round", "number", "worker", "updated_at")}
    return LogRecord(**facts, text=zlib.decompress(row["content"]).decode(), ended=row["ended_at"] is not None)


def forget_logs(connection: Connection, older_than_seconds: float) -> int:
    """Delete the logs that nothing was added to for so long; return how many."""
    return connection.execute(delete(job_logs).where(job_logs.c.updated_at < moment(-older_than_seconds))).rowcount
