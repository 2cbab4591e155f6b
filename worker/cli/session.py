"""What every command needs: the settings, the database for as long as the command lasts, a message's judgement."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker import app
from worker.core.errors import InvalidJob, LeveretError, Problem
from worker.core.message.wire import MAX_BODY_BYTES, nearest
from worker.core.record import TERMINAL
from worker.core.routing import DEFAULT_PRIORITY, lane_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.job import Job
    from worker.core.ports import Repository
    from worker.core.record import JobRecord
    from worker.registry import Registry
    from worker.settings import Settings

EXIT_CODES = {"completed": 0, "dead": 1, "cancelled": 2}
"""What a command that waited for a job ends with, by the job's final state."""

RECENT_JOBS = 10_000
"""The newest jobs, among which the beginning of an id is looked for."""
NEAR_JOBS = 500
SHORTEST_NAME = 4
MOST_TOLD = 5

assert EXIT_CODES.keys() == TERMINAL  # noqa: S101 - every final state has a code


class CommandRefused(LeveretError):
    """What the person asked for cannot be done; the message says why, and what can."""


@asynccontextmanager
async def database(settings: Settings, *, looks: bool = True) -> AsyncIterator[Repository]:
    """Yield the repository; Misconfigured, naming the command, when its schema is not the newest.

    Who only `looks` brings no SQLite file about.
    """
    if looks:
        app.refuse_missing_sqlite(settings)
    repository = app.repository(settings)
    try:
        await repository.check()
        yield repository
    finally:
        await repository.close()


async def known_job(repository: Repository, name: str, hint: str = "") -> JobRecord:
    """Return the record of the job that has the id `name`, or of the only recent one whose id begins with it.

    CommandRefused names those that `name` could mean, or the nearest recent id and `hint`.
    """
    record = await repository.job(name)
    if record is not None:
        return record
    recent = [job.job_id for job in await repository.jobs(limit=RECENT_JOBS)]
    meant = [job_id for job_id in recent if job_id.startswith(name)] if len(name) >= SHORTEST_NAME else []
    if len(meant) > 1:
        told = ", ".join(meant[:MOST_TOLD]) + (" …" if len(meant) > MOST_TOLD else "")
        raise CommandRefused(f"{name!r} is the beginning of {len(meant)} jobs' ids: {told}")
    if meant and (record := await repository.job(meant[0])) is not None:
        return record
    near = nearest(name, recent[:NEAR_JOBS])
    if not near and not hint and any(job_id.startswith(name) for job_id in recent):
        hint = f"of an id give at least {SHORTEST_NAME} characters"
    raise CommandRefused(f"there is no job {name!r}{near}" + (f"{'' if near else ';'} {hint}" if hint else ""))


def read_file(name: str) -> bytes:
    """Return what is in the file, or on standard input for `-`; at most a little more than a message may have."""
    limit = MAX_BODY_BYTES + 1
    if name == "-":
        return sys.stdin.buffer.read(limit)
    try:
        with Path(name).open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise CommandRefused(f"cannot read {name}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of a message without running it."""

    lane: str
    priority: str
    modules: tuple[str, ...]
    problems: tuple[Problem, ...]


def judge(job: Job, registry: Registry) -> Judgement:
    """Return where the job belongs, and every problem with its tasks' data."""
    problems: list[Problem] = []
    requirements: frozenset[str] = frozenset()
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
        problems=tuple(problems),
    )
