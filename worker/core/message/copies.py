"""The headers of a message that takes another one's place.

A copy carries headers from an allow-list, never the publisher's others. `CC` and `BCC` would make the broker copy the
copy into more queues each time it is forwarded, deferred or expires in a delay queue; `x-death` would be read by
versions up to 3.13 when the copy dies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from worker.core.attempt import Cancelled, Completed, Dead, Defer, Divided, Forward, Requeue, Retry, Surplus
from worker.core.policy import shortened
from worker.core.routing import (
    DYING,
    HEADER_ATTEMPT,
    HEADER_DEATH_MARK,
    HEADER_ERROR_TYPE,
    HEADER_FAILED_AT,
    HEADER_FIRST_QUEUED_AT,
    HEADER_HOPS,
    HEADER_LANE,
    HEADER_LAST_ERROR,
    HEADER_LAST_WORKER,
    HEADER_MAX_ATTEMPTS,
    HEADER_REFUSED_BY,
    HEADER_ROUND,
    HEADER_STANDBY,
    JOBS,
    defer_name,
    defers,
    retry_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.attempt import Failure, Outcome

COUNTS: Final = (HEADER_ATTEMPT, HEADER_ROUND, HEADER_HOPS)
TEXTS: Final = (
    HEADER_FIRST_QUEUED_AT,
    HEADER_LAST_ERROR,
    HEADER_ERROR_TYPE,
    HEADER_LAST_WORKER,
    HEADER_FAILED_AT,
    HEADER_REFUSED_BY,
    # https://www.w3.org/TR/trace-context-amqp/: whoever traces a job finds it again after a retry.
    "traceparent",
    "tracestate",
)
MAX_HOPS: Final = 8
"""A job that so many workers forwarded is one that no two of them agree about."""
MAX_COUNT: Final = 100


def count_of(headers: Mapping[str, Any], name: str, default: int) -> int:
    """Return a count that a header names; a publisher may have written anything there."""
    value = headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else default


def text_of(headers: Mapping[str, Any], name: str) -> str:
    """Return a text that a header names, nothing where a publisher wrote something else there."""
    value = headers.get(name)
    return shortened(value) if isinstance(value, str) else ""


def allowed_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a message's headers that its copy may carry."""
    counts = {name: count_of(headers, name, -1) for name in COUNTS}
    texts = {name: shortened(value) for name in TEXTS if isinstance(value := headers.get(name), str)}
    return {name: count for name, count in counts.items() if count >= 0} | texts


def copy_headers(
    headers: Mapping[str, Any], outcome: Outcome, *, lane: str, max_attempts: int, queued_at: str, now: str
) -> dict[str, Any]:
    """Return the headers of the copy by which `outcome` is settled; times are ISO 8601."""
    copied = {HEADER_FIRST_QUEUED_AT: queued_at} | allowed_headers(headers)
    copied |= {HEADER_MAX_ATTEMPTS: max_attempts}
    if lane:
        copied[HEADER_LANE] = lane
    match outcome:
        case Retry(failure=failure):
            return copied | _blame(failure, now) | {HEADER_ATTEMPT: failure.attempt, HEADER_ROUND: outcome.round}
        case Dead(failure=failure):
            return copied | _blame(failure, now) | {HEADER_DEATH_MARK: failure.mark}
        case Defer(refused_by=worker, standby=standby):
            headers = {HEADER_REFUSED_BY: worker, HEADER_STANDBY: standby.mark if standby else None}
            return copied | {name: value for name, value in headers.items() if value}
        case Forward():
            # Wherever it goes it stays the one that waits.
            waits = {HEADER_STANDBY: mark} if (mark := text_of(headers, HEADER_STANDBY)) else {}
            return copied | waits | {HEADER_HOPS: count_of(headers, HEADER_HOPS, 0) + 1}
        case _:
            return copied


def copy_exchange(outcome: Outcome, defer_seconds: float, delays: tuple[float, ...]) -> str | None:
    """Return the exchange that takes the copy by which `outcome` is settled, None where it needs none.

    `delays` are those of the retry queues.
    """
    match outcome:
        case Retry():
            return retry_name(outcome.delay)
        case Defer(seconds=seconds):
            # Not sooner than it makes sense: a retry may be due in ten minutes.
            longer = [delay for delay in delays if defer_seconds < delay <= seconds]
            if longer:
                return retry_name(max(longer))
            # Nor much later: what is left of a lease may be less than the usual wait.
            return defer_name(min(defers(defer_seconds)) if 0 < seconds < defer_seconds else defer_seconds)
        case Forward():
            return JOBS
        case Dead():
            # Never by a nack of the original: it cannot carry the reason, and 3.10 reads the `x-death` of what dies.
            # One that a publisher wrote ends the process that moves the dead of that queue.
            return DYING
        case Completed() | Cancelled() | Divided() | Surplus() | Requeue():
            return None
        case _:
            assert_never(outcome)


def _blame(failure: Failure, now: str) -> dict[str, Any]:
    return {
        HEADER_LAST_ERROR: shortened(failure.message),
        HEADER_ERROR_TYPE: failure.error_type,
        HEADER_LAST_WORKER: failure.worker,
        HEADER_FAILED_AT: now,
    }
