"""A worker's request to run a job, and the answers of the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from worker.core.attempt import Attempt, Failure
    from worker.core.job import Job


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A worker's request to run a job that was delivered to it.

    `digest` is the SHA-256 of the body, in hex. `attempt_header` is the charged failures that the message
    reports (`x-attempt`) in the round it names (`x-round`), 0 for a fresh one: it counts where the database
    knows less. `death_mark` is what the message carries of an earlier death: where it is the mark of the job's last
    death, an operator moved the message out of the dead-letter queue. `standby` is the mark of a copy that
    waited for the job. `token` is this request's own: repeated after an answer that was lost on the way, it is granted
    the same attempt again. `long_lease_seconds` is the lease of what publishes, or has a copy waiting for it.
    """

    job: Job
    digest: str
    worker: str
    lease_seconds: float
    lane: str
    priority: str
    long_lease_seconds: float = 0.0
    attempt_header: int = 0
    round_header: int = 1
    death_mark: str = ""
    standby: str = ""
    token: str = field(default_factory=lambda: token_hex(8))


@dataclass(frozen=True, slots=True)
class Granted:
    """The job is ours under this attempt's epoch."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Finished:
    """The job is completed or cancelled already: finish `deletions`, then ack."""

    state: str
    deletions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody else has a live lease, or the job is not due yet: defer.

    `seconds` is how long that holds at least, `epoch` the job's; `has_standby` says that another copy of the message
    waits already.
    """

    reason: str
    seconds: float = 0.0
    epoch: int = 0
    has_standby: bool = False


@dataclass(frozen=True, slots=True)
class Buried:
    """The job is dead (`fresh`: by this very claim, which recorded it; else before): to the dead letters."""

    failure: Failure
    fresh: bool


Claim: TypeAlias = Granted | Finished | Waiting | Buried


@dataclass(frozen=True, slots=True)
class Renewal:
    """The lease lives on; `cancel` says that somebody wants the job cancelled."""

    cancel: bool


@dataclass(frozen=True, slots=True)
class Declined:
    """The workers that said they cannot do a job, and how many seconds ago the first of them did.

    `has_standby` says that another copy of the message waits already.
    """

    workers: frozenset[str]
    seconds: float
    epoch: int = 0
    has_standby: bool = False


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The kind of the database, its version, and how many seconds its clock is ahead of ours."""

    product: str
    version: tuple[int, ...]
    ahead_seconds: float


@dataclass(frozen=True, slots=True)
class Kept:
    """Files that a worker kept in `folder` after a failed upload; `artifacts` are the JSON that it stored."""

    job_id: str
    epoch: int
    worker: str
    folder: str
    artifacts: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Overdue:
    """A job that should have gone on `seconds` ago: it waits, or its worker's lease ran out."""

    job_id: str
    state: str
    lane: str
    priority: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Announced:
    """The outputs that attempts of an ended job had announced; `result` is what its record names, None without one."""

    job_id: str
    uris: frozenset[str]
    result: frozenset[str] | None
