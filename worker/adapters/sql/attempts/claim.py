"""The claim: one transaction that says whose the job is (broker.md, "The lease")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from worker.adapters.sql.answers import holder_may_renew_until
from worker.adapters.sql.attempts.fence import blame, close_attempt, ended, new_round, no_progress
from worker.adapters.sql.attempts.grant import ATTEMPT, Charges, as_granted, opened, opening, running
from worker.adapters.sql.attempts.unclaimed import require_same_job
from worker.adapters.sql.parts.store import lock_parent, part_ended
from worker.adapters.sql.schema import LIVE, attempts, jobs, moment
from worker.core.attempt import Failure
from worker.core.errors import CrashLoop, IdReused
from worker.core.policy import failure_of
from worker.core.ports import Buried, Claim, ClaimRequest, Finished, Granted, Waiting
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from worker.core.policy import Policy

_SEEN = (
    *(
        jobs.c[name]
        for name in (
            "state", "round", "epoch", "failures", "crashes", "digest", "owner", "lease_until", "not_before",
            "cancel_requested", "error", "error_type", "error_worker", "error_attempt", "death_mark",
            "pending_deletions", "parent_id", "standby",
        )
    ),
    moment().label("now"),
)  # fmt: skip
"""The columns that the decision needs; not the document, which may be a megabyte."""


def claim(connection: Connection, request: ClaimRequest, policy: Policy, steady_seconds: float) -> Claim:
    """Return whether a job that has a row is the worker's, and if not, why; IdReused when the id has another body.

    The database has answered the worker for `steady_seconds`.
    """
    job_id = request.job.job_id
    parent = lock_parent(connection, request.job.part.job if request.job.part else None)
    row = _locked(connection, job_id)
    if request.job.part is not None:
        if row is None or parent is None or row.parent_id != parent.job_id:
            raise IdReused(f"{job_id} is not a part that a worker planned: only workers write the parts of a job")
        if row.digest != request.digest:
            return Finished("cancelled")
        if parent.state != "waiting" and row.state not in TERMINAL:
            return _stopped(connection, request, row, steady_seconds)
    if row is None:
        return Waiting("its row has just been removed")
    require_same_job(connection, request.job, request.digest, row)
    claim = _decided(connection, request, policy, row, steady_seconds)
    if isinstance(claim, Buried | Finished) and row.state not in TERMINAL:
        part_ended(connection, parent, job_id)
    return claim


def _locked(connection: Connection, job_id: str) -> Row[*tuple[Any, ...]] | None:
    """Return the job's row; PostgreSQL locks it, SQLite's transaction already holds the whole database."""
    return connection.execute(select(*_SEEN).where(jobs.c.job_id == job_id).with_for_update()).one_or_none()


def _decided(
    connection: Connection, request: ClaimRequest, policy: Policy, row: Row[*tuple[Any, ...]], steady_seconds: float
) -> Claim:
    charges = Charges(row.round, row.failures, row.crashes)
    if row.state in LIVE and (again := _granted_before(connection, request, row)):
        return again
    match row.state:
        case "waiting":
            return Finished("waiting")
        case "completed" | "cancelled":
            return Finished(row.state, tuple(row.pending_deletions))
        case "dead" if not row.death_mark or request.death_mark != row.death_mark:
            message, mark = row.error or "it is dead", row.death_mark or ""
            failure = Failure(message, row.error_type or "", row.error_worker or "", row.error_attempt or 0, mark)
            return Buried(failure, fresh=False)
        case "dead":
            connection.execute(update(jobs).where(jobs.c.job_id == request.job.job_id).values(**new_round()))
            return _grant(connection, request, policy, row.epoch, Charges(row.round + 1, 0, 0))
        case "retrying" if row.not_before is not None and row.not_before > row.now:
            return _waiting(request, row, f"its retry is due in {_seconds(row.now, row.not_before)} s", row.not_before)
        case "running" | "publishing" if row.lease_until is not None and row.lease_until > row.now:
            reason = f"{row.owner} holds it for {_seconds(row.now, row.lease_until)} s more"
            return _waiting(request, row, reason, row.lease_until)
        case "running" | "publishing" if (
            until := holder_may_renew_until(row.lease_until or row.now, row.now, request, steady_seconds)
        ) > row.now:
            return _waiting(request, row, f"the database is back, and {row.owner} may renew its lease", until)
        case "running" | "publishing":
            return _succeeded(connection, request, policy, row)
        case _:
            return _grant(connection, request, policy, row.epoch, charges, _last_failure(row))


def _stopped(connection: Connection, request: ClaimRequest, row: Row[*tuple[Any, ...]], steady_seconds: float) -> Claim:
    """Return the end of a part whose job no longer waits for it.

    While somebody has it, its message waits: nobody else would end it, or make it again, if that worker is dead.
    """
    if row.state in LIVE:
        lease_until = row.lease_until or row.now
        until = max(lease_until, holder_may_renew_until(lease_until, row.now, request, steady_seconds))
        if until > row.now:
            return _waiting(request, row, f"{row.owner} has it, and was asked to stop", until)
        close_attempt(connection, request.job.job_id, row.epoch, "crashed", "its job no longer waits for it")
    connection.execute(update(jobs).where(jobs.c.job_id == request.job.job_id).values(**ended("cancelled")))
    return Finished("cancelled")


def _waiting(request: ClaimRequest, row: Row[*tuple[Any, ...]], reason: str, until: datetime) -> Waiting:
    """Return that the job waits until then; one copy of its message is enough to wait with it."""
    has_standby = row.standby is not None and row.standby != request.standby
    return Waiting(reason, (until - row.now).total_seconds(), row.epoch, has_standby)


def _last_failure(row: Row[*tuple[Any, ...]]) -> Failure | None:
    """Return the failure that the round was charged with last, None where it was a crash or none."""
    if row.error is None or row.error_attempt != row.failures or not row.failures:
        return None
    return Failure(row.error, row.error_type or "", row.error_worker or "", row.error_attempt)


def _seconds(now: datetime, then: datetime) -> int:
    return max(1, round((then - now).total_seconds()))


def _succeeded(connection: Connection, request: ClaimRequest, policy: Policy, row: Row[*tuple[Any, ...]]) -> Claim:
    """Return the claim of a job whose worker fell silent: its attempt is charged as a crash."""
    job_id = request.job.job_id
    crash = CrashLoop(f"the attempt ended without a result; the lease of its worker {row.owner} ran out")
    close_attempt(connection, job_id, row.epoch, "crashed", str(crash), type(crash).__name__)
    charges = Charges(row.round, row.failures + 1, row.crashes + 1)
    charged = {"failures": charges.failures, "crashes": charges.crashes}
    if row.cancel_requested:
        connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**(ended("cancelled") | charged)))
        return Finished("cancelled")
    if charges.crashes >= policy.max_crashes or charges.failures >= policy.max_attempts:
        failure = failure_of(_crash_loop(charges, policy, row.owner), row.owner, charges.failures)
        connection.execute(
            update(jobs).where(jobs.c.job_id == job_id).values(**(ended("dead") | charged | blame(failure)))
        )
        return Buried(failure, fresh=True)
    return _grant(connection, request, policy, row.epoch, charges)


def _crash_loop(charges: Charges, policy: Policy, owner: str) -> CrashLoop:
    if charges.crashes >= policy.max_crashes:
        times = "once" if charges.crashes == 1 else f"{charges.crashes} times"
        return CrashLoop(f"its attempts ended without a result {times}, last on worker {owner}")
    return CrashLoop(
        f"its last attempt, {charges.failures} of {policy.max_attempts}, ended without a result on {owner}"
    )


def _grant(
    connection: Connection,
    request: ClaimRequest,
    policy: Policy,
    epoch: int,
    charges: Charges,
    previous: Failure | None = None,
) -> Granted:
    """Return the attempt under the next epoch of a job that has a row."""
    granted = running(request, policy, epoch, charges)
    connection.execute(
        update(jobs)
        .where(jobs.c.job_id == request.job.job_id)
        .values(
            **granted,
            **no_progress(),
            not_before=None,
            cancel_requested=False,
            lane=request.lane,
            priority=request.priority,
            refused_by=[],
            unserved_since=None,
            # Of the first attempt; a later one is in the attempts.
            started_at=func.coalesce(jobs.c.started_at, moment()),
        )
    )
    attempt = opened(connection, request, opening(request, charges.round, granted)).attempt
    attempt = replace(attempt, previous=previous)
    if epoch < policy.max_returns:
        return Granted(attempt)
    return Granted(replace(attempt, returns=_returns(connection, request.job.job_id, charges.round)))


def _returns(connection: Connection, job_id: str, this_round: int) -> int:
    """Return how many attempts of a round were given back and charged to nobody."""
    mine = (attempts.c.job_id == job_id) & (attempts.c.round == this_round)
    given_back = attempts.c.outcome.in_(("deferred", "interrupted"))
    return int(connection.execute(select(func.count()).where(mine & given_back)).scalar_one())


def _granted_before(connection: Connection, request: ClaimRequest, row: Row[*tuple[Any, ...]]) -> Granted | None:
    """Return the open attempt if this very request opened it and only the answer was lost."""
    here = (attempts.c.job_id == request.job.job_id) & (attempts.c.epoch == row.epoch)
    found = connection.execute(select(*ATTEMPT).where(here & (attempts.c.token == request.token))).one_or_none()
    if found is None:
        return None
    lease = update(jobs).where(jobs.c.job_id == request.job.job_id).values(lease_until=moment(request.lease_seconds))
    connection.execute(lease)
    return as_granted(request, found)
