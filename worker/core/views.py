"""The values that the page shows beside records: waiting jobs, changes, the cost of similar jobs, the audit."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import Any

from pydantic import Field

from worker.core.record import ArtifactRecord, JobRecord, Record


class WaitingJob(Record):
    """A queued or retrying job with what says why it waits.

    `due_seconds` are those until a retry may begin, `refused_by` the workers of its lane that cannot do it, each
    with what it lacks, and `modules` the names of its tasks.
    """

    job: JobRecord
    due_seconds: float | None = None
    refused_by: dict[str, str] = Field(default_factory=dict)


class LaneDepth(Record):
    """The number of jobs that wait in one lane at one priority, of parts that do, and of the jobs that these are of."""

    lane: str
    priority: str
    waiting: int
    parts: int = 0
    divided: int = 0


class ResultView(Record):
    """A completed job with its artifacts that a page shows: poster, manifest, files."""

    job: JobRecord
    artifacts: list[ArtifactRecord]


class DeadSummary(Record):
    """A dead message with what the database knows of it; `kind` is `job`, `refusal` or `unknown`."""

    job_id: str | None
    message_id: str | None
    sha256: str
    title: str | None
    kind: str
    error_type: str
    reasons: list[str]
    lane: str
    priority: str
    died_at: datetime | None
    death: str
    bytes: int
    attempts: int | None = Field(None, description="How many attempts ran; none for a message that never was a job.")


class DeadWhole(DeadSummary):
    """The same with the message itself, without its secrets, and the headers that we wrote."""

    headers: dict[str, Any]
    body: str


class DeadPage(Record):
    """The newest dead messages, and how many there are."""

    messages: list[DeadSummary]
    count: int


class Disagreement(Record):
    """One thing that is not as it should be: of which kind, of which job, what is known, and what was done."""

    kind: str
    job_id: str
    fact: str
    done: str = ""


class Changes(Record):
    """Marks that differ after a change: a text for the whole fleet, and one for each job that is watched.

    Equal texts mean that nothing changed. They follow from the rows alone, so they are the same after a restart.
    """

    fleet: str
    jobs: dict[str, str] = Field(default_factory=dict)


class Expectation(Record):
    """The cost of the newest completed jobs of the same modules: how many, and their median seconds and bytes."""

    jobs: int
    seconds: float
    source_bytes: float | None = None
    output_bytes: float | None = None


class AuditEntry(Record):
    """One thing that somebody did over the page or the API; `outcome` is `done` or why it was refused."""

    number: int
    at: datetime
    actor: str
    role: str
    client: str
    action: str
    target: str
    detail: dict[str, Any] = Field(default_factory=dict)
    outcome: str


class Sample(Record):
    """One measurement of a worker's host."""

    worker_id: str
    at: datetime
    cpu_percent: float
    ram_percent: float
    disk_free_bytes: int
