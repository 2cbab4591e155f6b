"""The rows of an attempt that is granted, and the attempt that a worker gets for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert

from worker.adapters.sql.database.statements import store
from worker.adapters.sql.schema import attempts, moment
from worker.core.attempt import Attempt
from worker.core.ports import ClaimRequest, Granted

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from worker.core.policy import Policy

ATTEMPT: Final = tuple(attempts.c[name] for name in ("round", "number", "epoch", "started_at"))
"""The columns that `as_granted` reads."""
_OPENING: Final = insert(attempts).returning(*ATTEMPT)


@dataclass(frozen=True, slots=True)
class Charges:
    """The failures that the round has been charged with."""

    round: int
    failures: int
    crashes: int


def running(request: ClaimRequest, policy: Policy, epoch: int, charges: Charges) -> dict[str, Any]:
    """Return the columns of a job that runs under the epoch after `epoch`.

    The header counts where the database knows less (it was set up anew), within the same round; at most so far
    that one attempt is left, for only an attempt may end in the last failure.
    """
    failures = charges.failures
    if request.round_header == charges.round:
        failures = max(failures, min(request.attempt_header, policy.max_attempts - 1))
    return {
        "state": "running",
        "epoch": epoch + 1,
        "failures": failures,
        "crashes": charges.crashes,
        "owner": request.worker,
        "lease_until": moment(request.lease_seconds),
        # Whichever copy waits is found anew: this message may be the very one.
        "standby": None,
    }


def opening(request: ClaimRequest, this_round: int, granted: dict[str, Any]) -> dict[str, Any]:
    """Return the row of the attempt that runs as `granted`, the columns of its job, says."""
    return {
        "job_id": request.job.job_id,
        "epoch": granted["epoch"],
        "round": this_round,
        "number": granted["failures"] + 1,
        "worker": request.worker,
        "token": request.token,
        "started_at": moment(),
        "announced": [],
    }


def opened(connection: Connection, request: ClaimRequest, attempt: dict[str, Any]) -> Granted:
    """Return an attempt, `attempt` its row, that is recorded now."""
    return as_granted(request, store(connection, _OPENING, attempt).one())


def as_granted(request: ClaimRequest, row: Row[*tuple[Any, ...]]) -> Granted:
    """Return the attempt of a row."""
    return granted_with(request, row.round, row.number, row.epoch, row.started_at)


def granted_with(request: ClaimRequest, this_round: int, number: int, epoch: int, started_at: datetime) -> Granted:
    """Return the attempt that a request was granted."""
    attempt = Attempt(
        job=request.job,
        round=this_round,
        number=number,
        epoch=epoch,
        worker=request.worker,
        lease_seconds=request.lease_seconds,
        long_lease_seconds=request.long_lease_seconds,
        started_at=started_at,
    )
    return Granted(attempt)
