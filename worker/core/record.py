"""The records that people and programs read: jobs, attempts, artifacts, workers, refusals."""

from __future__ import annotations

from collections.abc import Iterable  # noqa: TC003 - as below
from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

State: TypeAlias = Literal["queued", "waiting", "running", "publishing", "retrying", "completed", "dead", "cancelled"]
TERMINAL: frozenset[str] = frozenset({"completed", "dead", "cancelled"})
STATES: tuple[State, ...] = (
    "queued", "waiting", "running", "publishing", "retrying", "completed", "dead", "cancelled",
)  # fmt: skip
Callback: TypeAlias = Literal["pending", "done", "failed"]
AttemptOutcome: TypeAlias = Literal["completed", "failed", "crashed", "cancelled", "interrupted", "deferred", "divided"]
WorkerStatus: TypeAlias = Literal["startup", "idle", "in_progress", "paused", "draining", "offline"]
Wanted: TypeAlias = Literal["run", "pause", "drain"]
FIRST_SURE_SHARE: Final = 0.02
"""The share of the work from which on the time that is left is more than a guess; people remember wrong guesses."""


class Record(BaseModel):
    """The base of the records: frozen, and built at its first use."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class ProgressRecord(Record):
    """The progress of a job."""

    percent: float | None = None
    task: str | None = None
    fps: float | None = None
    speed: float | None = None
    eta_seconds: float | None = None


class AttemptRecord(Record):
    """One try. `number` grows with charged failures, `epoch` with every claim."""

    number: int
    round: int
    epoch: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    error: str | None = None
    error_type: str | None = None


class ArtifactRecord(Record):
    """One published file; `duration` seconds, where it has one."""

    role: str
    uri: str
    media_type: str
    bytes: int
    sha256: str
    duration: float | None = None


class PartRecord(Record):
    """A part of a divided job; `frames` 0 where it is no range of frames, as the sound."""

    job_id: str
    index: int
    frames: int
    state: State
    worker: str | None = None
    percent: float | None = None
    fps: float | None = None
    error: str | None = None


class JobRecord(Record):
    """All that is known of a job.

    `retry_at` is when a retrying job may be tried again, `callback` how the POST of its final record went and
    `callback_error` why it failed. Of a queued job that is looked at alone, `refused_by` names the workers of its
    lane that cannot do it, with what each lacks, and `waits` says why it does not run yet.
    """

    job_id: str
    title: str
    state: State
    round: int
    lane: str
    priority: str
    dialect: str
    modules: list[str] = Field(default_factory=list)
    attempts: list[AttemptRecord] = Field(default_factory=list)
    progress: ProgressRecord = Field(default_factory=ProgressRecord)
    artifacts: list[ArtifactRecord] = Field(default_factory=list)
    manifest_url: str | None = None
    thumbnail_url: str | None = None
    error: str | None = None
    error_type: str | None = None
    retry_at: datetime | None = None
    callback: Callback | None = None
    callback_error: str | None = None
    refused_by: dict[str, str] = Field(default_factory=dict)
    waits: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    parts: list[PartRecord] = Field(default_factory=list)
    document: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        """Return whether nothing will happen to the job by itself any more."""
        return self.state in TERMINAL


class Hardware(Record):
    """The load of a host, as it measures itself; percentages 0 to 100."""

    cpu_percent: float = 0.0
    ram_percent: float = 0.0
    disk_free_bytes: int = 0
    cores: int = 0
    architecture: str = ""


class WorkerRecord(Record):
    """One worker as it last reported itself; `seen_at` is the database's clock, `wanted` what people asked of it."""

    worker_id: str
    hostname: str
    pid: int
    version: str
    status: WorkerStatus
    job_id: str | None = None
    job_title: str | None = None
    lanes: list[str] = Field(default_factory=list)
    capabilities: dict[str, Any] = Field(default_factory=dict)
    hardware: Hardware = Field(default_factory=Hardware)
    problem: str | None = None
    wanted: Wanted = "run"
    seen_at: datetime | None = None

    @property
    def activity(self) -> str:
        """Return the status as people read it: a worker's `in_progress` and its job's `running` are one."""
        return "running" if self.status == "in_progress" else self.status


def with_parts(record: JobRecord, parts: list[PartRecord]) -> JobRecord:
    """Return a divided job's record with its parts; while it waits, its progress is theirs, by frames."""
    if record.state != "waiting" or not parts:
        return record.model_copy(update={"parts": parts})
    progress = progress_of_parts(
        frames=sum(part.frames for part in parts),
        done=sum(part.frames * (part.percent or 0.0) for part in parts) / 100.0,
        fps=sum(part.fps or 0.0 for part in parts if part.state == "running"),
        made=sum(part.state == "completed" and part.frames > 0 for part in parts),
    )
    return record.model_copy(update={"parts": parts, "progress": progress})


def progress_of_parts(frames: int, done: float, fps: float, made: int) -> ProgressRecord:
    """Return the progress of a job of so many frames, of which so many are done; `made` parts are complete."""
    share = done / frames if frames else None
    # The first frames of an encoder come late, so that what they say of the speed is far too low.
    sure = share is not None and (made > 0 or share >= FIRST_SURE_SHARE)
    return ProgressRecord(
        percent=None if share is None else 100.0 * share,
        task="parts",
        fps=fps or None,
        eta_seconds=(frames - done) / fps if sure and fps else None,
    )


def serving(workers: Iterable[WorkerRecord]) -> dict[str, list[str]]:
    """Return lane → the workers that serve it; those that are offline or on their way out do not."""
    found: dict[str, list[str]] = {}
    for worker in workers:
        if worker.status not in {"offline", "draining"}:
            for lane in worker.lanes:
                found.setdefault(lane, []).append(worker.worker_id)
    return found


class LogRecord(Record):
    """The output of one attempt's tools, bounded and redacted; `ended` says that no more will come."""

    job_id: str
    epoch: int
    round: int
    number: int
    worker: str
    text: str
    updated_at: datetime
    ended: bool


class RefusalRecord(Record):
    """A message that never became a job: why, and enough of it to know it again."""

    refusal_id: str
    message_id: str | None
    body_sha256: str
    excerpt: str
    error: str
    error_type: str
    problems: list[str]
    worker: str
    refused_at: datetime


class OptionSet(Record):
    """Stored options of one module."""

    module: str
    name: str
    options: dict[str, Any]
