"""The whole job judged before its first task runs: modules, data, and which file comes from where."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.core.errors import OVERWRITE, InvalidJob, Problem, RefusedPath, SourceMissing
from worker.core.hints import bounded_hints
from worker.core.location import External, Relative, parse_location
from worker.core.message.wire import MAX_PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from pydantic import BaseModel

    from worker.core.job import Job, TaskSpec
    from worker.core.location import Location
    from worker.core.task import FileUse, Lookup, Task
    from worker.engine.storages import Storages
    from worker.registry import Registry


@dataclass(frozen=True, slots=True)
class Resolved:
    """The tasks of a job that can run, the folder of its outputs, and which of them may not replace what is there.

    The folder is in its storage's normal form, but for a job that touches no file and names none.
    """

    steps: tuple[Step, ...]
    destination: External
    guarded: frozenset[External]


@dataclass(frozen=True, slots=True)
class Step:
    """One task, ready to run; one that is not `sound` is refused, and only its files are judged."""

    spec: TaskSpec
    task: Task[Any]
    params: BaseModel
    sound: bool = True


def parse(registry: Registry, job: Job) -> tuple[Step, ...]:
    """Return the job's tasks with validated data; InvalidJob with the problems of all of them."""
    steps, problems, _ = _parsed(registry, job)
    if problems:
        raise InvalidJob(problems)
    return steps


def _parsed(registry: Registry, job: Job) -> tuple[tuple[Step, ...], list[Problem], frozenset[str]]:
    """Return the steps whose files can be judged, and the problems of the data, up to a bound.

    Last come the strings in data that is wrong beyond that: any of them may be a file that the task would have made.
    """
    steps: list[Step] = []
    problems: list[Problem] = []
    obscure: set[str] = set()
    for spec in job.tasks:
        try:
            steps.append(Step(spec, *registry.parse(spec)))
        except InvalidJob as error:
            problems += error.problems
            if found := registry.fields_alone(spec):
                steps.append(Step(spec, *found, sound=False))
            else:
                obscure |= set(_strings(spec.data))
        if len(problems) >= MAX_PROBLEMS:
            break
    return tuple(steps), problems[:MAX_PROBLEMS], frozenset(obscure)


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            yield from (text for item in value.values() for text in _strings(item))
        case list() | tuple():
            yield from (text for item in value for text in _strings(item))


def requirements(steps: Sequence[Step]) -> frozenset[str]:
    """Return every capability that the tasks together require."""
    return frozenset(name for step in steps for name in step.task.requires(step.params))


async def prepared(registry: Registry, job: Job, lookup: Lookup) -> tuple[Step, ...]:
    """Return the job's tasks with all that they look up; no file is judged. Raises what their `prepare` raises."""
    with bounded_hints():
        steps = parse(registry, job)
        return tuple([replace(step, params=await step.task.prepare(step.params, lookup)) for step in steps])


class Resolver:
    """Turns a job into steps that can run, or into every reason why it cannot."""

    def __init__(self, registry: Registry, storages: Storages, lookup: Lookup) -> None:
        self._registry = registry
        self._storages = storages
        self._lookup = lookup

    async def resolve(self, job: Job, destination: External, own: Callable[[], Awaitable[frozenset[str]]]) -> Resolved:
        """Return what a job runs whose relative outputs go under `destination`, which nobody has admitted yet.

        `own` returns the URIs that this job recorded before: they never count as conflicts. Raises InvalidJob with
        every problem, SourceMissing when all that is wrong are sources that do not exist (yet), and what
        the storages raise.
        """
        with bounded_hints():
            return await self._resolved(job, destination, own)

    async def _resolved(
        self, job: Job, destination: External, own: Callable[[], Awaitable[frozenset[str]]]
    ) -> Resolved:
        steps: list[Step] = []
        parsed, problems, obscure = _parsed(self._registry, job)
        for step in parsed:
            if not step.sound:
                steps.append(step)
                continue
            try:
                steps.append(replace(step, params=await step.task.prepare(step.params, self._lookup)))
            except InvalidJob as error:
                problems += [_under(step.spec.path, problem) for problem in error.problems]
                steps.append(step)
        files = _FileJudge(self._storages, destination, obscure)
        if job.destination or job.keep_log:
            await files.admit_destination()
        for step in steps:
            if len(files.problems) < MAX_PROBLEMS:
                await files.judge(step)
        conflicts = await files.conflicts(own) if not problems and not files.problems else []
        if problems := [*problems, *files.problems, *conflicts]:
            found = [*problems, *(Problem(path, text) for path, text in files.missing)]
            raise InvalidJob(found[:MAX_PROBLEMS])
        if files.missing:
            raise SourceMissing("; ".join(text for _, text in files.missing))
        return Resolved(tuple(steps), files.destination, files.guarded)


def _under(path: str, problem: Problem) -> Problem:
    """Return a problem with its task's place in the message before it."""
    if not path or problem.path.startswith(path):
        return problem
    return Problem(f"{path}.{problem.path}" if problem.path else path, problem.message)


class _FileJudge:
    """Follows the files of a job from task to task without touching one."""

    def __init__(self, storages: Storages, destination: External, obscure: frozenset[str]) -> None:
        self._storages = storages
        self._obscure = obscure
        self._admitted = False
        self.destination = destination
        self._made: dict[External, tuple[str, FileUse, Location]] = {}
        self.problems: list[Problem] = []
        self.missing: list[tuple[str, str]] = []

    async def admit_destination(self) -> None:
        """Bring the folder of outputs into its storage's normal form, once; RefusedPath outside the roots.

        A job that touches no file is not held up by a file system that is slow.
        """
        if not self._admitted:
            self.destination = await asyncio.to_thread(self._storages.admit, self.destination, writing=True)
            self._admitted = True

    async def judge(self, step: Step) -> None:
        """Note what is wrong with one task's files, and what it makes for the next."""
        path = step.spec.path
        try:
            files = step.task.files(step.params)
        except InvalidJob as error:
            self.problems += [_under(path, problem) for problem in error.problems]
            return
        except RefusedPath as error:
            self.problems.append(Problem(path, str(error)))
            return
        if files.reads or files.writes or files.removes:
            await self.admit_destination()
        reads = set()
        for use in files.reads:
            location = await self._located(path, use, writing=False)
            if location is not None:
                reads.add(self._place(location))
                await self._judge_read(path, use, location)
        for use in files.writes:
            location = await self._located(path, use, writing=True)
            if location is not None:
                self._judge_write(path, use, location, reads)
        for use in files.removes:
            location = await self._located(path, use, writing=True)
            if location is not None:
                self._judge_removal(path, use, location)

    @property
    def guarded(self) -> frozenset[External]:
        """Return where outputs go that may not replace what is there."""
        return frozenset(place for place, (_, use, _) in self._made.items() if not use.overwrite)

    def _place(self, location: Location) -> External:
        """Return where a location of this job is in the end: one place may have two names."""
        return self.destination.joined(location.path) if isinstance(location, Relative) else location

    def _judge_write(self, path: str, use: FileUse, location: Location, reads: set[External]) -> None:
        place = self._place(location)
        if place in reads:
            self.problems.append(_problem(path, use, f"{use.location!r} is a source of this task too"))
        _, before, other = self._made.get(place, (path, use, location))
        if other != location:
            message = f"{use.location!r} and {before.location!r} are one place, {place}: use one name for it"
            self.problems.append(_problem(path, use, message))
        self._made[place] = (path, use, location)

    def _judge_removal(self, path: str, use: FileUse, location: Location) -> None:
        if use.location.endswith("/"):
            self.problems.append(_problem(path, use, f"{use.location!r} is a folder; only files are removed"))
        elif (
            self._made.pop(self._place(location), None) is None
            and isinstance(location, Relative)
            and use.location not in self._obscure
        ):
            self.problems.append(_problem(path, use, f"{use.location!r} is made by no earlier task"))

    async def _located(self, path: str, use: FileUse, *, writing: bool) -> Location | None:
        try:
            location = parse_location(use.location, self._storages.path_map)
            if isinstance(location, Relative):
                return location
            return await asyncio.to_thread(self._storages.admit, location, writing=writing)
        except RefusedPath as error:
            self.problems.append(_problem(path, use, str(error)))
            return None

    async def _judge_read(self, path: str, use: FileUse, location: Location) -> None:
        if self._place(location) in self._made or use.location in self._obscure:
            return
        if isinstance(location, Relative):
            self.problems.append(_problem(path, use, f"{use.location!r} is made by no earlier task"))
        elif await self._storages.serving(location).stat(location) is None:
            self.missing.append((_join(path, use.path), f"{use.location} does not exist"))

    async def conflicts(self, own: Callable[[], Awaitable[frozenset[str]]]) -> list[Problem]:
        """Return the outputs that would replace what this job never made and may not overwrite."""
        problems = []
        mine: frozenset[str] | None = None
        for place, (path, use, _) in self._made.items():
            if use.overwrite or place.is_folder or await self._storages.serving(place).stat(place) is None:
                continue
            mine = await own() if mine is None else mine
            if str(place) not in mine:
                problems.append(_problem(path, use, f"{place} exists; {OVERWRITE}"))
        return problems


def _join(path: str, inner: str) -> str:
    return f"{path}.{inner}" if path and inner else path or inner


def _problem(path: str, use: FileUse, message: str) -> Problem:
    return Problem(_join(path, use.path), message)
