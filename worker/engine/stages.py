"""The steps of a delivery's life: each value holds the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.core.settlement import Settlement

if TYPE_CHECKING:
    from worker.core.attempt import Attempt, Outcome
    from worker.core.job import Job
    from worker.core.ports import Delivery, Produced


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
