"""One try at a job, how it can end, how its message is settled, and what is reported of it while it runs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Final, TypeAlias

from worker.core.routing import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from worker.core.job import Job

_PUBLISH_FOLDER: Final = re.compile(r"e\d+-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: which job, its number within the round, and the token that fences it.

    `epoch` grows with every claim of the job by anybody, `number` only with charged failures: an
    attempt that was interrupted has the same number as its successor, and another epoch. `previous` is the failure
    that this round was charged with last, `returns` are the attempts of the round that were given back without a
    charge. `lease_seconds` is how long the job stays ours in silence while nothing of it can be seen,
    `long_lease_seconds` while it publishes, or while a copy of its message waits.
    """

    job: Job
    round: int
    number: int
    epoch: int
    worker: str
    lease_seconds: float
    started_at: datetime
    previous: Failure | None = None
    returns: int = 0
    long_lease_seconds: float = 0.0

    @property
    def longest_lease(self) -> float:
        """Return the seconds of the longer of the two leases."""
        return max(self.lease_seconds, self.long_lease_seconds)

    @property
    def scratch_name(self) -> str:
        """Return the name of this attempt's scratch folder, unique over all attempts."""
        return f"{self.job.job_id}.{self.epoch}"

    @property
    def publish_folder(self) -> str:
        """Return the folder under a destination that holds this attempt's immutable files.

        The job is in its name: two jobs may share a destination, and neither may touch the other's files; and
        nobody's own folder, `s01/e07`, is taken for one of ours.
        """
        return f"e{self.epoch}-{job_mark(self.job.job_id)}"


def is_publish_folder(name: str) -> bool:
    """Return whether a folder's name is that of some attempt's own."""
    return _PUBLISH_FOLDER.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, as people see it: one line, the class of the error, who saw it.

    `mark` is known to the database and to the dead message only: a message that carries the mark of its job's death
    was moved out of the dead letters, and was not written by a publisher.
    """

    message: str
    error_type: str
    worker: str
    attempt: int
    mark: str = field(default_factory=lambda: token_hex(16), compare=False)


@dataclass(frozen=True, slots=True)
class Completed:
    """The job is done and recorded, by us now or by somebody before us: ack."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A transient failure: a copy waits `delay` seconds in its delay queue, then the original is acked."""

    delay: float
    failure: Failure
    round: int


@dataclass(frozen=True, slots=True)
class Dead:
    """No further try: a copy that carries the reason is rejected into the dead-letter queue, the original is acked."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Standby:
    """The mark of the copy that waits for a job which somebody has: known to the row and to that copy only.

    `before` is the mark that the message carried until now, `epoch` that of the job when it was judged.
    """

    epoch: int
    before: str = ""
    mark: str = field(default_factory=lambda: token_hex(16), compare=False)


@dataclass(frozen=True, slots=True)
class Defer:
    """Not here or not now, charged to nobody: a copy waits in `media.defer`, then the original is acked.

    `seconds` is how long the reason holds at least. `standby` marks the copy as the one that waits for its job.
    """

    reason: str
    refused_by: str | None = None
    seconds: float = 0.0
    standby: Standby | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Forward:
    """The job belongs elsewhere: a copy under its real lane, priority and id, then the original is acked."""

    job_id: str
    lane: str
    priority: str


@dataclass(frozen=True, slots=True)
class Surplus:
    """Another copy of the message waits for the same job: ack."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Give the delivery back as it is (our own shutdown, a delivery that raced in): nack with requeue."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled and recorded so: ack."""


@dataclass(frozen=True, slots=True)
class Divided:
    """The job waits for its parts, which the database and the outbox hold: ack."""

    parts: int


Outcome: TypeAlias = Completed | Retry | Dead | Defer | Surplus | Forward | Requeue | Cancelled | Divided
"""The ways to settle a delivery: a closed set, matched with `assert_never`."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of a delivery, and under which id and route a copy of it goes on.

    `outcome` has no default: an outcome that nobody decided must not acknowledge unfinished work. `error` is what a
    failed attempt ended with; `ended` says that this delivery brought its job to its end, `callback_url` where the
    publisher wants its record then. `waited` is the seconds before the first attempt, where they are known.
    `adoption` is the
    id that was proposed for a message that came without one, where its copy brings it one.
    """

    outcome: Outcome
    job_id: str | None = None
    lane: str = ""
    priority: str = DEFAULT_PRIORITY
    modules: tuple[str, ...] = ()
    error: BaseException | None = None
    ended: bool = False
    waited: float | None = None
    callback_url: str = field(default="", repr=False)
    adoption: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job. `percent` is None where no honest figure exists; `fps` and `speed` are the tool's."""

    percent: float | None = None
    task: str | None = None
    fps: float | None = None
    speed: float | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StateChange:
    """A job's new state, as `media.events` publishes it.

    `round` and `attempt` are None where no attempt brought it about (a job that died of its claims, or that nobody
    serves); `worker` is None where a person did.
    """

    job_id: str
    title: str
    state: str
    worker: str | None = None
    round: int | None = None
    attempt: int | None = None
    error: str | None = None
    error_type: str | None = None

    @classmethod
    def by(cls, attempt: Attempt, state: str, failure: Failure | None = None) -> StateChange:
        """Return the change that an attempt brought about."""
        job = attempt.job
        error = (failure.message, failure.error_type) if failure else (None, None)
        return cls(job.job_id, job.title, state, attempt.worker, attempt.round, attempt.number, *error)

    @classmethod
    def death(cls, job: Job, failure: Failure) -> StateChange:
        """Return the change of a job that died without an attempt of its own."""
        return cls(job.job_id, job.title, "dead", failure.worker, None, None, failure.message, failure.error_type)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A produced file.

    `path` is the staged file, `uri` where it goes, `role` what it is to a reader: `file`, `segment`,
    `init`, `playlist`, `manifest`, `subtitle`, `poster`, `storyboard`, `log`. `immutable` files live in the
    attempt's own folder and never change; `manifest` ones are made visible last. `job_id` is whose it is: hidden
    names carry it, so that whoever ends the job finds what a killed worker left. `replaces` says whether what is
    there may be replaced; where it may not, only files whose SHA-256 is in `earlier`, the job's own, are.
    """

    role: str
    path: Path
    uri: str
    media_type: str
    bytes: int
    sha256: str
    duration: float | None = None
    immutable: bool = False
    job_id: str = ""
    replaces: bool = True
    earlier: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """Return what hidden names of this artifact's job have in common."""
        return job_mark(self.job_id)


def job_mark(job_id: str) -> str:
    """Return what the hidden names and own folders of a job have in common: letters that every storage takes."""
    return hashlib.sha256(job_id.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a successful attempt, for the record.

    `deletions` are external URIs that may go once the record is written. `facts` are what tasks noted
    (media facts, warnings of tools), `task_seconds` one figure a task, in order.
    """

    artifacts: tuple[Artifact, ...] = ()
    manifest_url: str | None = None
    thumbnail_url: str | None = None
    deletions: tuple[str, ...] = ()
    facts: dict[str, object] = field(default_factory=dict)
    total_seconds: float = 0.0
    task_seconds: tuple[tuple[str, float], ...] = ()
