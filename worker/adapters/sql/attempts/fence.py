"""The fence: what every statement that changes or ends an attempt has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import bindparam, case, null, or_, select, update

from worker.adapters.sql.attempts.at_once import change_of_job_and_attempt
from worker.adapters.sql.database.statements import store
from worker.adapters.sql.schema import LIVE, attempts, jobs, moment
from worker.core.errors import LeaseLost

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Executable

    from worker.adapters.sql.database.statements import OneStatement
    from worker.core.attempt import Attempt, Failure


_JOB: Final = bindparam("this_job", type_=jobs.c.job_id.type)
_EPOCH: Final = bindparam("this_epoch", type_=jobs.c.epoch.type)
_WORKER: Final = bindparam("this_worker", type_=jobs.c.owner.type)

_LIVE: Final = or_(*(jobs.c.state == state for state in LIVE))
"""As alternatives, not as a list: a list is spelt out anew at every execution."""

OWNED: Final = (jobs.c.job_id == _JOB) & (jobs.c.epoch == _EPOCH) & (jobs.c.owner == _WORKER) & _LIVE
"""The condition under which the job is the attempt's that `names` gives.

A lease that ran out is still ours as long as nobody else has claimed the job: the claim raises the epoch. Where a power
cut of the database took our first claim back, the next one has our epoch, and another owner.
"""

_FENCED: Final = update(jobs).where(OWNED).returning(jobs.c.cancel_requested)
_OPEN: Final = (attempts.c.job_id == _JOB) & (attempts.c.epoch == _EPOCH) & attempts.c.ended_at.is_(None)
_OPENED: Final = update(attempts).where(_OPEN)


def names(attempt: Attempt) -> dict[str, Any]:
    """Return the parameters of `OWNED`."""
    return {"this_job": attempt.job.job_id, "this_epoch": attempt.epoch, "this_worker": attempt.worker}


def fenced(connection: Connection, attempt: Attempt, values: dict[str, Any]) -> bool:
    """Return whether somebody wants the attempt's job cancelled, after setting `values`; LeaseLost when not ours."""
    cancelled: bool | None = store(connection, _FENCED, values, **names(attempt)).scalar_one_or_none()
    if cancelled is None:
        raise _lost(attempt)
    return cancelled


def _lost(attempt: Attempt) -> LeaseLost:
    return LeaseLost(f"the job {attempt.job.job_id} is not ours any more (epoch {attempt.epoch})")


def finish(
    connection: Connection,
    attempt: Attempt,
    values: dict[str, Any],
    outcome: str,
    error: str | None = None,
    error_type: str | None = None,
) -> bool:
    """Set `values` of the attempt's job and write how it ended; False when that was recorded before.

    The answer to a commit can be lost while the commit is done: who asks again has not lost the job. LeaseLost
    when it is not ours.
    """
    if _ended(connection, attempt, values, _end_of_attempt(outcome, error, error_type)):
        return True
    if _recorded(connection, attempt, outcome, ENDS[outcome]):
        return False
    raise _lost(attempt)


def end_at_once(attempt: Attempt, values: dict[str, Any], outcome: str) -> OneStatement:
    """Return what `finish` does where the attempt is still ours, as one statement of PostgreSQL; else it has no row."""
    return change_of_job_and_attempt(
        (OWNED, _OPEN), names(attempt), values, _end_of_attempt(outcome, error=None, error_type=None)
    )


def _ended(connection: Connection, attempt: Attempt, job: dict[str, Any], ending: dict[str, Any]) -> bool:
    """Set the values of the attempt's job, if it is ours, and of the attempt; return whether it is."""
    if connection.dialect.name == "postgresql":
        one = change_of_job_and_attempt((OWNED, _OPEN), names(attempt), job, ending)
        return connection.execute(cast("Executable", one.statement), one.values).one_or_none() is not None
    if store(connection, _FENCED, job, **names(attempt)).one_or_none() is None:
        return False
    store(connection, _OPENED, ending, this_job=attempt.job.job_id, this_epoch=attempt.epoch)
    return True


ENDS: Final = {
    "completed": ("completed",),
    "failed": ("retrying", "dead", "cancelled"),
    "interrupted": ("queued", "cancelled"),
    "deferred": ("queued", "cancelled"),
    "cancelled": ("cancelled",),
    "divided": ("waiting", "queued", "dead", "cancelled"),
}
"""The states in which each outcome of an attempt leaves its job."""


def _recorded(connection: Connection, attempt: Attempt, outcome: str, states: tuple[str, ...]) -> bool:
    """Return whether this very attempt was the last, and ended so."""
    ours = (jobs.c.job_id == attempt.job.job_id) & (jobs.c.epoch == attempt.epoch) & jobs.c.state.in_(states)
    tried = (attempts.c.epoch == attempt.epoch) & (attempts.c.worker == attempt.worker)
    ended_so = tried & (attempts.c.outcome == outcome)
    found = select(jobs.c.state).join(attempts, attempts.c.job_id == jobs.c.job_id).where(ours & ended_so)
    return connection.execute(found).one_or_none() is not None


def close_attempt(
    connection: Connection,
    job_id: str,
    epoch: int,
    outcome: str | ColumnElement[str],
    error: str | None = None,
    error_type: str | None = None,
) -> None:
    """Write how the open attempt under `epoch` ended."""
    store(connection, _OPENED, _end_of_attempt(outcome, error, error_type), this_job=job_id, this_epoch=epoch)


def _end_of_attempt(outcome: str | ColumnElement[str], error: str | None, error_type: str | None) -> dict[str, Any]:
    return {"outcome": outcome, "error": error, "error_type": error_type, "ended_at": moment()}


def blame(failure: Failure) -> dict[str, Any]:
    """Return the columns that keep `failure`."""
    return {
        "error": failure.message,
        "error_type": failure.error_type,
        "error_worker": failure.worker,
        "error_attempt": failure.attempt,
        "death_mark": failure.mark,
    }


def unblamed() -> dict[str, Any]:
    """Return the columns of a job without a failure."""
    return {"error": None, "error_type": None, "error_worker": None, "error_attempt": None, "death_mark": None}


_CALLBACK: Final = case((jobs.c.callback_url.is_not(None), "pending"), else_=null())


def ended(state: str) -> dict[str, Any]:
    """Return the columns of a job that reaches the terminal `state` now; a callback becomes due."""
    return {
        "state": state,
        "finished_at": moment(),
        "lease_until": None,
        "not_before": None,
        "cancel_requested": False,
        "callback_state": _CALLBACK,
        "callback_error": None,
    }


def ended_if_cancelled(state: str) -> dict[str, Any]:
    """Return the columns of a job that goes back to `state`, or ends when somebody wanted it cancelled.

    A waiting job never carries a request to cancel it: no worker runs it that could obey.
    """
    cancelled = jobs.c.cancel_requested
    due = cancelled & jobs.c.callback_url.is_not(None)
    return {
        "state": case((cancelled, "cancelled"), else_=state),
        "finished_at": case((cancelled, moment()), else_=null()),
        "lease_until": None,
        "cancel_requested": False,
        "callback_state": case((due, "pending"), else_=null()),
    }


def new_round() -> dict[str, Any]:
    """Return the columns of a job whose next round begins: charges are forgotten, epochs and attempts are not."""
    return {
        "state": "queued",
        "round": jobs.c.round + 1,
        "failures": 0,
        "crashes": 0,
        "lease_until": None,
        "not_before": None,
        "finished_at": None,
        "cancel_requested": False,
        "callback_state": None,
        "callback_error": None,
        "refused_by": [],
        "unserved_since": None,
        "standby": None,
        **unblamed(),
        **no_progress(),
    }


def no_progress() -> dict[str, Any]:
    """Return the columns of a job of which nothing is done yet."""
    return {"percent": None, "task": None, "fps": None, "speed": None, "eta_seconds": None}
