"""The check of a document: would a worker take it? Nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem
from worker.core.message.dialects import decode
from worker.core.routing import DEFAULT_PRIORITY, lane_of

if TYPE_CHECKING:
    from worker.core.job import Job
    from worker.registry import Registry

PLACEHOLDER_ID: Final = "unnamed"
NOT_CHECKED: Final = (
    "that the sources exist and can be read",
    "that the worker has the encoders, filters and tools",
    "that its option sets exist",
)
"""The checks that need a host and not only the document; `validate --here` does them on this one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The lane of a job, and every problem with its tasks' data."""

    lane: str
    priority: str
    modules: tuple[str, ...]
    requirements: frozenset[str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """The validation of a document: `job` is None when it is none; `unchecked` is what was not looked at."""

    job: Job | None
    dialect: str | None
    modules: tuple[str, ...]
    lane: str | None
    priority: str | None
    problems: tuple[Problem, ...]
    unchecked: tuple[str, ...] = NOT_CHECKED

    @property
    def valid(self) -> bool:
        """Return whether nothing is wrong with the document."""
        return not self.problems


def judge(job: Job, registry: Registry) -> Judgement:
    """Return where the job belongs, and every problem with its tasks' data."""
    problems: list[Problem] = []
    requirements: frozenset[str] = frozenset()
    if job.part is not None:
        problems.append(Problem("part", "is written by workers alone, when they divide a job"))
    for spec in job.tasks:
        try:
            task, params = registry.parse(spec)
            requirements |= task.requires(params)
        except InvalidJob as error:
            problems += error.problems
    return Judgement(
        lane=job.lane or lane_of(requirements),
        priority=job.priority or DEFAULT_PRIORITY,
        modules=tuple(spec.module for spec in job.tasks),
        requirements=requirements,
        problems=tuple(problems),
    )


def validate(registry: Registry, body: bytes) -> Validation:
    """Return what is known of a message's body."""
    try:
        job = decode(body, PLACEHOLDER_ID)
    except InvalidJob as error:
        return Validation(None, None, (), None, None, error.problems)
    found = judge(job, registry)
    return Validation(job, job.dialect, found.modules, found.lane, found.priority, found.problems)
