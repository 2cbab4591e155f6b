"""The statements of a worker while it holds a job: each a transaction, each fenced by the attempt's epoch."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, insert, select, update

from worker.adapters.sql.attempts.fence import (
    OWNED,
    blame,
    end_at_once,
    ended,
    ended_if_cancelled,
    fenced,
    finish,
    names,
    unblamed,
)
from worker.adapters.sql.attempts.outputs import reserve
from worker.adapters.sql.database.statements import store, upsert
from worker.adapters.sql.parts.outbox import write_message
from worker.adapters.sql.parts.store import lock_parent, part_ended, stop_parts
from worker.adapters.sql.rows import fresh_row, tombstone, uri_key
from worker.adapters.sql.schema import adoptions, artifacts, attempts, jobs, moment
from worker.core.errors import IdReused, JobCancelled, LeaseLost
from worker.core.ports import Renewal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from worker.adapters.sql.database.statements import OneStatement
    from worker.core.attempt import Attempt, Failure, Progress, Result, Standby
    from worker.core.job import Job


_OURS: Final = update(jobs).where(OWNED)
_UNCANCELLED: Final = _OURS.where(~jobs.c.cancel_requested).returning(jobs.c.job_id)


def submit(connection: Connection, job: Job, digest: str, lane: str, priority: str, body: bytes | None = None) -> None:
    """Insert a queued row, and its message; IdReused when the id exists, naming `retry` where that would run it."""
    values = fresh_row(job, digest, lane, priority)
    inserted = connection.execute(
        upsert(connection, jobs).values(**values).on_conflict_do_nothing().returning(jobs.c.job_id)
    )
    if inserted.one_or_none() is None:
        state = connection.execute(select(jobs.c.state).where(jobs.c.job_id == job.job_id)).scalar()
        again = f"use `leveret retry {job.job_id}` or " if state in {"dead", "cancelled"} else ""
        raise IdReused(f"the id {job.job_id} exists and is {state or 'taken'}: {again}choose another id")
    if body is not None:
        write_message(connection, job.job_id, body, "queued")


def adopt(connection: Connection, digest: str, proposed_id: str, *, redelivered: bool) -> str:
    """Return the id for a message without one; a redelivered body takes one whose copy was never confirmed.

    The same body published twice is two jobs: an id whose copy is confirmed is never given again, and whoever lost
    an open one to another delivery learns it from `adopted`.
    """
    if redelivered:
        here = (adoptions.c.body_sha256 == digest) & adoptions.c.holder.is_not(None)
        unconfirmed = select(adoptions.c.job_id).where(here).order_by(adoptions.c.number).limit(1).with_for_update()
        stored: str | None = connection.execute(unconfirmed).scalar_one_or_none()
        if stored is not None:
            connection.execute(update(adoptions).where(adoptions.c.job_id == stored).values(holder=proposed_id))
            return stored
    values = {"body_sha256": digest, "job_id": proposed_id, "holder": proposed_id, "adopted_at": moment()}
    connection.execute(insert(adoptions).values(values))
    return proposed_id


def adopted(connection: Connection, job_id: str, holder: str) -> bool:
    """Close the adoption of an id whose copy is confirmed; return whether it was still the holder's.

    An id has two rows where the answer to `adopt` was lost and it was asked again.
    """
    here = (adoptions.c.job_id == job_id) & (adoptions.c.holder == holder)
    closed = update(adoptions).where(here).values(holder=None).returning(adoptions.c.job_id)
    return bool(connection.execute(closed).all())


def stand_by(connection: Connection, job_id: str, standby: Standby) -> None:
    """Note which copy, a confirmed one, waits for the job; one that waits already stays it.

    Whoever claimed the job meanwhile may have this very copy: then it does not wait any more.
    """
    vacant = jobs.c.standby.is_(None) | (jobs.c.standby == standby.before)
    here = (jobs.c.job_id == job_id) & (jobs.c.epoch == standby.epoch)
    connection.execute(update(jobs).where(here & vacant).values(standby=standby.mark))


def renew(connection: Connection, attempt: Attempt) -> Renewal:
    """Extend the lease and read the cancel flag, in one statement.

    A copy that waits for the job is what could take it over: its holder, which lives, gets more time from then on.
    """
    return Renewal(cancel=fenced(connection, attempt, {"lease_until": _extended(attempt)}))


def _extended(attempt: Attempt) -> ColumnElement[Any]:
    return _until(attempt.lease_seconds, attempt.longest_lease)


@lru_cache(maxsize=64)
def _until(short: float, long: float) -> ColumnElement[Any]:
    """Return when a lease ends that is renewed now; the same expression for the same seconds."""
    return case(((jobs.c.state == "publishing") | jobs.c.standby.is_not(None), moment(long)), else_=moment(short))


def report(connection: Connection, attempt: Attempt, progress: Progress) -> None:
    """Store progress where the job is still this attempt's."""
    store(connection, _OURS, asdict(progress), **names(attempt))


def announce(
    connection: Connection, attempt: Attempt, uris: Sequence[str], own: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Set `publishing` and keep the planned URIs; JobCancelled when a cancel came first.

    `own` are the SHA-256 of what may replace nothing, by URI: returned is what earlier attempts made there.
    """
    values = {"state": "publishing", "lease_until": moment(attempt.longest_lease)}
    if store(connection, _UNCANCELLED, values, **names(attempt)).one_or_none() is None:
        if connection.execute(select(jobs.c.cancel_requested).where(OWNED), names(attempt)).scalar_one_or_none():
            raise JobCancelled(f"the job {attempt.job.job_id} was cancelled before it was published")
        raise LeaseLost(f"the job {attempt.job.job_id} is not ours any more (epoch {attempt.epoch})")
    this = (attempts.c.job_id == attempt.job.job_id) & (attempts.c.epoch == attempt.epoch)
    before = connection.execute(select(attempts.c.announced).where(this)).scalar_one()
    connection.execute(update(attempts).where(this).values(announced=list(dict.fromkeys([*before, *uris]))))
    return reserve(connection, attempt.job.job_id, own)


def planned(connection: Connection, job_id: str) -> frozenset[str]:
    """Return every URI that an attempt of this job announced or published."""
    announced = connection.execute(select(attempts.c.announced).where(attempts.c.job_id == job_id))
    published = connection.execute(select(artifacts.c.uri).where(artifacts.c.job_id == job_id))
    return frozenset(uri for uris in announced.scalars() for uri in uris) | frozenset(published.scalars())


def is_plain(attempt: Attempt, result: Result) -> bool:
    """Return whether `complete` changes the job and its attempt alone."""
    return attempt.epoch == 1 and attempt.job.part is None and not result.artifacts


def complete(connection: Connection, attempt: Attempt, result: Result) -> tuple[str, ...]:
    """Record the result; return announced URIs of earlier attempts that are no part of it."""
    job_id = attempt.job.job_id
    values = _completed(attempt, result)
    parent = _parent(connection, attempt)
    if finish(connection, attempt, values, "completed"):
        if result.artifacts:
            connection.execute(insert(artifacts), _artifact_rows(job_id, result))
        part_ended(connection, parent, job_id)
    if attempt.epoch == 1:
        return ()
    earlier = connection.execute(
        select(attempts.c.announced)
        .where((attempts.c.job_id == job_id) & (attempts.c.epoch < attempt.epoch))
        .order_by(attempts.c.epoch)
    )
    ours = {artifact.uri for artifact in result.artifacts}
    return tuple(dict.fromkeys(uri for uris in earlier.scalars() for uri in uris if uri not in ours))


def complete_at_once(attempt: Attempt, result: Result) -> OneStatement:
    """Return what records a plain result, as one statement of PostgreSQL; no row where the attempt is not open."""
    return end_at_once(attempt, _completed(attempt, result), "completed")


def _completed(attempt: Attempt, result: Result) -> dict[str, Any]:
    """Return the columns of a job that has this result."""
    values: dict[str, Any] = ended("completed") | unblamed()
    return values | {
        "percent": 100.0,
        "eta_seconds": 0.0,
        "manifest_url": result.manifest_url,
        "thumbnail_url": result.thumbnail_url,
        "pending_deletions": list(result.deletions),
        "facts": {**attempt.job.facts, **result.facts},
        "metrics": {
            "total_seconds": result.total_seconds,
            "task_seconds": [{"task": task, "seconds": seconds} for task, seconds in result.task_seconds],
        },
    }


def _artifact_rows(job_id: str, result: Result) -> list[dict[str, Any]]:
    return [
        {
            "job_id": job_id,
            "position": position,
            "role": artifact.role,
            "uri": artifact.uri,
            "media_type": artifact.media_type,
            "bytes": artifact.bytes,
            "sha256": artifact.sha256,
            "duration": artifact.duration,
            "uri_key": uri_key(artifact.uri),
        }
        for position, artifact in enumerate(result.artifacts)
    ]


def retry_later(connection: Connection, attempt: Attempt, failure: Failure, delay: float) -> None:
    """Record a charged failure; the job may be claimed again after `delay` seconds.

    A second is forgiven, so that a message whose time to live ran a little fast is not deferred for it.
    """
    values = ended_if_cancelled("retrying") | blame(failure)
    values |= {"failures": attempt.number, "not_before": moment(max(0.0, delay - 1.0))}
    parent = _parent(connection, attempt)
    if finish(connection, attempt, values, "failed", failure.message, failure.error_type):
        part_ended(connection, parent, attempt.job.job_id)


def bury(connection: Connection, attempt: Attempt, failure: Failure) -> None:
    """Record the job dead."""
    values = ended("dead") | blame(failure) | {"failures": attempt.number}
    parent = _parent(connection, attempt)
    if finish(connection, attempt, values, "failed", failure.message, failure.error_type):
        part_ended(connection, parent, attempt.job.job_id)


def release(connection: Connection, attempt: Attempt, outcome: str, reason: str) -> None:
    """Give the job back, charged to nobody."""
    parent = _parent(connection, attempt)
    if finish(connection, attempt, ended_if_cancelled("queued"), outcome, reason):
        part_ended(connection, parent, attempt.job.job_id)


def confirm_cancel(connection: Connection, attempt: Attempt) -> None:
    """Record the job cancelled."""
    parent = _parent(connection, attempt)
    if finish(connection, attempt, ended("cancelled"), "cancelled"):
        part_ended(connection, parent, attempt.job.job_id)


def _parent(connection: Connection, attempt: Attempt) -> Row[Any] | None:
    """Return the job that the attempt's is a part of, locked."""
    return lock_parent(connection, attempt.job.part.job if attempt.job.part else None)


def deleted(connection: Connection, job_id: str) -> None:
    """Note that the deletions of a completed job are done."""
    connection.execute(
        update(jobs).where((jobs.c.job_id == job_id) & (jobs.c.state == "completed")).values(pending_deletions=[])
    )


def request_cancel(connection: Connection, job_id: str) -> str:
    """Return the state after asking: a waiting or unknown job is cancelled at once.

    Who asks for a part means its job: no film ends without one of its parts.
    """
    parent_id = connection.execute(select(jobs.c.parent_id).where(jobs.c.job_id == job_id)).scalar_one_or_none()
    job_id = parent_id or job_id
    asked = connection.execute(
        upsert(connection, jobs).values(**tombstone(job_id)).on_conflict_do_nothing().returning(jobs.c.state)
    )
    if (state := asked.scalar_one_or_none()) is not None:
        return str(state)
    waiting = jobs.c.state.in_(("queued", "retrying", "waiting"))
    cancelled = connection.execute(
        update(jobs).where((jobs.c.job_id == job_id) & waiting).values(**ended("cancelled")).returning(jobs.c.state)
    )
    if (state := cancelled.scalar_one_or_none()) is not None:
        stop_parts(connection, job_id)
        return str(state)
    connection.execute(
        update(jobs).where((jobs.c.job_id == job_id) & (jobs.c.state == "running")).values(cancel_requested=True)
    )
    return str(connection.execute(select(jobs.c.state).where(jobs.c.job_id == job_id)).scalar_one())
