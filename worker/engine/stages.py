"""The values between the steps of a delivery's life, each with the one before it, and what headers say of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from worker.core.attempt import Settlement
from worker.core.errors import InvalidJob
from worker.core.message.copies import count_of, text_of
from worker.core.ports import ClaimRequest
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
from worker.engine.attempt.plan import parse, requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.attempt import Attempt, Outcome
    from worker.core.job import Job
    from worker.core.ports import Delivery, Produced
    from worker.registry import Registry


@dataclass(frozen=True, slots=True)
class Decoded:
    """A delivery that is a job; `digest` is the SHA-256 of its body, in hex."""

    delivery: Delivery
    digest: str
    job: Job


@dataclass(frozen=True, slots=True)
class Routed:
    """A job of this worker's lanes, which has an id; `needed` is what it requires of a host."""

    decoded: Decoded
    lane: str
    priority: str
    needed: frozenset[str]

    def settlement(self, outcome: Outcome, **facts: Any) -> Settlement:
        """Return `outcome` as the settlement of this job's delivery."""
        job = self.decoded.job
        modules = tuple(spec.module for spec in job.tasks)
        url = job.callback_url or ""
        return Settlement(outcome, job.job_id, self.lane, self.priority, modules, callback_url=url, **facts)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is ours under the epoch of `attempt`; `waited` is the seconds before its first attempt."""

    routed: Routed
    attempt: Attempt
    waited: float | None

    def settlement(self, outcome: Outcome, **facts: Any) -> Settlement:
        """Return `outcome` as the settlement of this job's delivery."""
        return self.routed.settlement(outcome, waited=self.waited, **facts)


@dataclass(frozen=True, slots=True)
class Ran:
    """An attempt that is over: what its production returned, or what ended it."""

    claimed: Claimed
    end: Produced | BaseException


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


def seconds_waited(headers: Mapping[str, Any], attempt: Attempt) -> float | None:
    """Return the seconds from what the publisher says of its time to a job's very first attempt, None for others."""
    try:
        queued = datetime.fromisoformat(str(headers.get(HEADER_FIRST_QUEUED_AT)))
        return max(0.0, (attempt.started_at - queued).total_seconds()) if attempt.epoch == 1 else None
    except (ValueError, TypeError):
        return None
