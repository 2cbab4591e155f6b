"""A delivery before it is a job: its route, its counts, and the record of a refusal."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, LeveretError
from worker.core.message.copies import count_of, text_of
from worker.core.policy import failure_of
from worker.core.ports import ClaimRequest
from worker.core.record import RefusalRecord
from worker.core.redaction import redact
from worker.core.routing import (
    DEFAULT_PRIORITY,
    HEADER_ATTEMPT,
    HEADER_DEATH_MARK,
    HEADER_FIRST_QUEUED_AT,
    HEADER_ROUND,
    HEADER_STANDBY,
    PRIORITIES,
    lane_of,
    route_of,
)
from worker.engine.attempt.excerpt import excerpt_of
from worker.engine.attempt.plan import parse, requirements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from worker.core.attempt import Attempt
    from worker.core.job import Job
    from worker.core.ports import Delivery
    from worker.registry import Registry

MAX_PROBLEMS: Final = 100


def real_route(delivery: Delivery, job: Job, registry: Registry, own_lane: str) -> tuple[str, str, frozenset[str]]:
    """Return the job's real lane and priority, and what it requires; the routing key's priority wins.

    A message whose data is invalid has no requirements: it is handled here and rejected with its errors.
    """
    try:
        needed = requirements(parse(registry, job))
    except InvalidJob:
        needed = frozenset()
    try:
        here, queued = route_of(delivery.queue)
    except ValueError:
        here, queued = own_lane, DEFAULT_PRIORITY
    lane = job.lane or (lane_of(needed) if needed else here)
    stated = delivery.routing_key.rpartition(".")[2]
    priority = queued if stated in PRIORITIES else job.priority or queued
    return lane, priority, needed


def claim_request(
    delivery: Delivery,
    job: Job,
    digest: str,
    *,
    worker: str,
    leases: tuple[float, float],
    route: tuple[str, str],
) -> ClaimRequest:
    """Return the request to run a delivered job, with what its headers say of earlier attempts.

    `leases` are the seconds of the short one and of the long one.
    """
    return ClaimRequest(
        job=job,
        digest=digest,
        worker=worker,
        lease_seconds=leases[0],
        long_lease_seconds=leases[1],
        lane=route[0],
        priority=route[1],
        attempt_header=count_of(delivery.headers, HEADER_ATTEMPT, 0),
        round_header=count_of(delivery.headers, HEADER_ROUND, 1),
        death_mark=text_of(delivery.headers, HEADER_DEATH_MARK),
        standby=text_of(delivery.headers, HEADER_STANDBY),
    )


async def refusal(delivery: Delivery, digest: str, error: LeveretError, worker: str) -> RefusalRecord:
    """Return the record of a message that is no job."""
    failure = failure_of(error, worker, 0)
    problems = [str(problem) for problem in error.problems] if isinstance(error, InvalidJob) else [str(error)]
    return RefusalRecord(
        refusal_id=str(uuid.uuid4()),
        message_id=delivery.message_id,
        body_sha256=digest,
        excerpt=await asyncio.to_thread(excerpt_of, delivery.body),
        error=failure.message,
        error_type=failure.error_type,
        problems=[redact(problem) for problem in problems[:MAX_PROBLEMS]],
        worker=worker,
        refused_at=datetime.now(UTC),
    )


def waited(headers: Mapping[str, Any], attempt: Attempt) -> float | None:
    """Return the seconds from what the publisher says of its time to a job's very first attempt, None for others."""
    try:
        queued = datetime.fromisoformat(str(headers.get(HEADER_FIRST_QUEUED_AT)))
        return max(0.0, (attempt.started_at - queued).total_seconds()) if attempt.epoch == 1 else None
    except (ValueError, TypeError):
        return None
