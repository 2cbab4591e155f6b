"""The claim of a job that nobody has recorded yet, in as few round trips as the database allows."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.sql.attempts.at_once import job_and_attempt
from worker.adapters.sql.attempts.grant import ATTEMPT, Charges, granted_with, opened, opening, running
from worker.adapters.sql.database.statements import insert_of, store
from worker.adapters.sql.rows import fresh_row
from worker.adapters.sql.schema import jobs, moment

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.adapters.sql.database.statements import OneStatement
    from worker.core.policy import Policy
    from worker.core.ports import ClaimRequest, Granted

_LAST_ROUND: Final = 1_000_000
"""More rounds than people open: a header may say anything, and a column holds 32 bits."""
_UNLESS_KNOWN: Final = insert_of("sqlite", jobs).on_conflict_do_nothing().returning(jobs.c.job_id)


def claim_at_once(request: ClaimRequest, policy: Policy) -> OneStatement:
    """Return what `claim_unknown` does, as one statement of PostgreSQL; `granted_at_once` reads its row."""
    return job_and_attempt(*_first_rows(request, policy), ATTEMPT)


def granted_at_once(request: ClaimRequest, row: tuple[Any, ...]) -> Granted:
    """Return the attempt that `claim_at_once` opened."""
    this_round, number, epoch, started_at = row
    return granted_with(request, this_round, number, epoch, started_at.astimezone(UTC))


def claim_unknown(connection: Connection, request: ClaimRequest, policy: Policy) -> Granted | None:
    """Return the first attempt of a job that has no row yet, None when it has one: SQLite's way."""
    job, attempt = _first_rows(request, policy)
    if store(connection, _UNLESS_KNOWN, job).one_or_none() is None:
        return None
    return opened(connection, request, attempt)


def _first_rows(request: ClaimRequest, policy: Policy) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of a job that nobody knows yet, and of its first attempt."""
    charges = Charges(min(max(request.round_header, 1), _LAST_ROUND), 0, 0)
    granted = running(request, policy, 0, charges)
    values = fresh_row(request.job, request.digest, request.lane, request.priority)
    values |= granted | {"round": charges.round, "started_at": moment()}
    return values, opening(request, charges.round, granted)
