"""Divided jobs in the database, and the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from worker.core.attempt import Attempt
    from worker.core.job import Job
    from worker.core.parts import Part
    from worker.core.record import PartRecord


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part as the job that it is: its message's body, and the digest of it."""

    part: Part
    job: Job
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class MadePart:
    """A part that is completed, and its file."""

    index: int
    key: str
    uri: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownPlan:
    """The division of a job as the database has it: its plan, why that one failed, and the parts that are made.

    `divisions` counts how often the job was divided in its present round.
    """

    plan: Mapping[str, Any] | None = None
    broken: str | None = None
    made: tuple[MadePart, ...] = ()
    divisions: int = 0


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message that is true and perhaps not published yet; `state` is what became of its job when it was written."""

    number: int
    job_id: str
    title: str
    body: bytes
    lane: str
    priority: str
    dialect: str
    state: str
    is_part: bool
    error: str | None = None
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class SlowPart:
    """A part that is being made, for so long that another worker may make it too; `document` is its message."""

    job_id: str
    parent_id: str
    index: int
    document: Mapping[str, Any]


class PartStore(Protocol):
    """Plans, parts, and the outbox."""

    async def known_plan(self, job_id: str) -> KnownPlan:
        """Return what is known of a job's division."""
        ...

    async def divide(
        self,
        attempt: Attempt,
        plan: Mapping[str, Any],
        parts: Sequence[PlannedPart],
        still_there: Collection[int],
        shared: Sequence[MadePart] = (),
    ) -> None:
        """Let the job wait for its parts, of which `still_there` are made; their messages are in the outbox.

        Those of `shared` are made by whoever plans: their files are put there once this is written.
        JobCancelled when a cancel came first, LeaseLost when the job is not the attempt's.
        """
        ...

    async def parts(self, job_id: str) -> list[PartRecord]:
        """Return the parts of a divided job, in order."""
        ...

    async def slow_parts(self, worker: str, lanes: Collection[str], seconds: float) -> list[SlowPart]:
        """Return the parts that others than `worker` make for over `seconds`, far longer than their neighbours took.

        None while anything waits in these lanes.
        """
        ...

    async def copy_part(self, slow: SlowPart, planned: PlannedPart) -> bool:
        """Return whether a second copy of a part was queued: one is enough, and none of a part that has ended."""
        ...

    async def outbox(self, older_than_seconds: float, limit: int) -> list[OutboxMessage]:
        """Return the oldest messages that nobody has noted as published."""
        ...

    async def published(self, numbers: Collection[int]) -> None:
        """Note that messages of the outbox are published."""
        ...

    async def outbox_of(self, job_id: str) -> list[int]:
        """Return the numbers of a job's messages that nobody has noted as published."""
        ...

    async def ended_with_parts(self, dead_seconds: float) -> list[str]:
        """Return the ended jobs whose parts have files; a dead one's may be used again for `dead_seconds`."""
        ...

    async def part_files(self, job_id: str) -> list[tuple[str, str]]:
        """Return the id of the part and the URI of each file that parts of a job have made or announced."""
        ...

    async def forget_part_files(self, job_id: str) -> None:
        """Note that the files of a job's parts are gone."""
        ...
