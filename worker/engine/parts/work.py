"""The work of an attempt: the whole job, one part, the join, or a plan that others carry out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import structlog

from worker.core.attempt import Divided
from worker.core.divisible import Divisible
from worker.core.errors import LeveretError, PlanBroken, VerificationFailed
from worker.core.location import Relative, parse_location
from worker.core.message.dialects import decode
from worker.core.parts import Fleet, Plan, Whole, in_order, part_id
from worker.core.ports.parts import MadePart, PlannedPart
from worker.core.record import serving
from worker.core.routing import lane_of
from worker.engine.attempt.plan import requirements
from worker.engine.parts.files import fetched, parts_folder, still_there

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from worker.core.attempt import Artifact, Attempt
    from worker.core.job import Job
    from worker.core.location import External
    from worker.core.parts import Part
    from worker.core.ports.parts import KnownPlan
    from worker.core.task import TaskContext
    from worker.engine.attempt.plan import Step
    from worker.engine.resources import Resources

LANES: Final = frozenset({"cpu", "visualize"})
log = structlog.get_logger(__name__)

MAX_DIVISIONS: Final = 5
"""More changes of a source, and more losses of parts, than one round of a job sees by chance."""
_LONGEST_ID: Final = 120
_UNREMARKABLE: Final = frozenset({"", "the job says never", "one worker makes it as soon"})


@dataclass(frozen=True, slots=True)
class RunWhole:
    """Every task runs here; `reason` is why the job is not divided, empty where nobody would ask."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class MakePart:
    """The one task makes one part; `shared` are local files that the plan made for all of them, by their names."""

    plan: Plan
    part: Part
    shared: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Join:
    """Every task runs here, and that of the plan joins the parts, which are local files by index."""

    plan: Plan
    files: Mapping[int, Path]


@dataclass(frozen=True, slots=True)
class Wait:
    """Others make the parts; those of the indexes `made` exist."""

    plan: Plan
    made: frozenset[int]


Work: TypeAlias = RunWhole | MakePart | Join | Wait


class WorkFinder:
    """Finds what one attempt has to do."""

    def __init__(self, resources: Resources, attempt: Attempt, steps: tuple[Step, ...], destination: External) -> None:
        self._resources = resources
        self._attempt = attempt
        self._steps = steps
        self._destination = destination

    async def find(self, context: TaskContext, folder: Callable[[], Path]) -> Work:
        """Return what there is to do; `folder` returns where the parts of a remote storage go."""
        job = self._attempt.job
        if job.part is not None:
            return await self._part(job, folder)
        index = self._divisible()
        if index is None:
            return RunWhole()
        task, params = cast("Divisible", self._steps[index].task), self._steps[index].params
        if task.division(params) == "never":
            return RunWhole()
        known = await self._resources.repository.known_plan(job.job_id)
        plan = await self._planned(task, params, index, known, context)
        if isinstance(plan, Whole):
            return RunWhole("" if plan.reason in _UNREMARKABLE else plan.reason)
        found = await still_there(self._resources, plan, known.made)
        if len(found) == len(plan.parts):
            files = await fetched(self._resources, found, folder())
            if len(files) == len(plan.parts):
                return Join(plan, files)
            found = {index: part for index, part in found.items() if index in files}
        if known.divisions >= MAX_DIVISIONS:
            return RunWhole(_unsteady(known.divisions))
        return Wait(plan, frozenset(found))

    async def _part(self, job: Job, folder: Callable[[], Path]) -> MakePart:
        if job.part is None:
            raise PlanBroken("the job is no part")
        known = await self._resources.repository.known_plan(job.part.job)
        plan = Plan.of(known.plan) if known.plan else None
        if plan is None or job.part.index >= len(plan.parts) or plan.parts[job.part.index].key != job.part.key:
            raise PlanBroken("the plan of this part was replaced")
        part = plan.parts[job.part.index]
        return MakePart(plan, part, {} if part.shared else await self._shared(plan, known.made, folder()))

    async def _shared(self, plan: Plan, made: Sequence[MadePart], folder: Path) -> Mapping[str, Path]:
        """Return the files that the plan made for all parts, whole and unchanged, by their names."""
        wanted = {part.index: part for part in plan.parts if part.shared}
        there = {one.index: one for one in made if one.index in wanted and one.key == wanted[one.index].key}
        try:
            files = await fetched(self._resources, there, folder)
        except LeveretError as error:
            log.warning("shared_part_not_read", job_id=self._attempt.job.job_id, error=str(error))
            return {}
        return {wanted[index].file: path for index, path in files.items()}

    def _divisible(self) -> int | None:
        """Return the index of the first task that can be divided, all of whose sources are outside."""
        if self._resources.publisher is None:
            return None
        for index, step in enumerate(self._steps):
            if isinstance(step.task, Divisible):
                reads = [parse_location(use.location) for use in step.task.files(step.params).reads]
                return None if any(isinstance(place, Relative) for place in reads) else index
        return None

    async def _planned(
        self, task: Divisible, params: Any, index: int, known: KnownPlan, context: TaskContext
    ) -> Plan | Whole:
        """Return the plan that is known, as long as it holds; else a new one."""
        stored = Plan.of(known.plan) if known.plan else None
        if stored is not None and await task.holds(params, stored, context):
            return Whole(known.broken) if known.broken else stored
        if known.divisions >= MAX_DIVISIONS:
            return Whole(_unsteady(known.divisions))
        return await self._planned_anew(task, params, index, context)

    async def _planned_anew(self, task: Divisible, params: Any, index: int, context: TaskContext) -> Plan | Whole:
        job = self._attempt.job
        lane = job.lane or lane_of(requirements(self._steps))
        if lane not in LANES:
            return Whole(f"the lane {lane} makes its jobs whole")
        if job.secrets:
            return Whole("it carries a secret, which no row keeps")
        if len(job.job_id) > _LONGEST_ID:
            return Whole("its id is too long for those of its parts")
        return await task.plan(params, index, await self._fleet(lane), context)

    async def _fleet(self, lane: str) -> Fleet:
        workers = await self._resources.repository.workers(self._resources.offline_seconds)
        names = set(serving(workers).get(lane, ()))
        hosts = {worker.hostname for worker in workers if worker.worker_id in names}
        # A path of the file system may be anything; a NAS and a bucket are the same for all.
        shared = len(hosts) <= 1 or self._destination.scheme != "file" or bool(self._resources.parts_url)
        return Fleet(max(1, len(names)), shared)

    async def divide(self, wait: Wait, shared: Sequence[Artifact] = ()) -> Divided:
        """Write the plan, the rows of its parts and their messages; IdReused where a job has the id of a part.

        The parts whose files are `shared` count as made.
        """
        planned = [self._as_job(wait.plan, part) for part in in_order(wait.plan.parts)]
        named = {part_id(self._attempt.job.job_id, part.index): part for part in wait.plan.parts}
        made = [
            MadePart(named[file.job_id].index, named[file.job_id].key, file.uri, file.bytes, file.sha256)
            for file in shared
        ]
        await self._resources.repository.divide(self._attempt, wait.plan.document(), planned, wait.made, made)
        return Divided(len(planned))

    def folder_of_parts(self) -> str:
        """Return where the files of the job's parts are."""
        return parts_folder(self._resources, str(self._destination), self._attempt.job.job_id)

    def _as_job(self, plan: Plan, part: Part) -> PlannedPart:
        """Return a part as the job that it is: the divided task alone, with the same data."""
        job, spec = self._attempt.job, self._attempt.job.tasks[plan.task]
        own = part_id(job.job_id, part.index)
        document = {
            "job_id": own,
            "job_title": f"{job.title[:480]} {part.index + 1}/{len(plan.parts)}",
            "priority": job.priority,
            "lane": job.lane,
            "destination": self.folder_of_parts(),
            "timeout": job.timeout,
            "tasks": [{"module": spec.module, "data": dict(spec.data)}],
            "part": {"job": job.job_id, "index": part.index, "key": part.key},
        }
        body = json.dumps({key: value for key, value in document.items() if value is not None}).encode()
        return PlannedPart(part, decode(body, own), body, sha256(body).hexdigest())


def _unsteady(divisions: int) -> str:
    """Return why a job is divided no more: whoever changes a source or a part each time would keep it for ever."""
    return f"it was divided {divisions} times, and each time a source had changed or a part was lost"


async def make(step: Step, work: Work, index: int, context: TaskContext) -> None:
    """Run one task as the work says."""
    if isinstance(work, MakePart):
        await cast("Divisible", step.task).run_part(step.params, work.plan, work.part, context)
    elif isinstance(work, Join) and work.plan.task == index:
        await _join(step, work, context)
    else:
        if isinstance(work, RunWhole) and work.reason and isinstance(step.task, Divisible):
            context.note("parts", {"whole": work.reason})
        await step.task.run(step.params, context)


async def _join(step: Step, work: Join, context: TaskContext) -> None:
    """Join the parts; where they are no film together, make it whole here, as if it had never been divided.

    A source that changes its size within is made by one encoder, which scales, and by several that do not.
    """
    try:
        await cast("Divisible", step.task).join(step.params, work.plan, work.files, context)
    except (PlanBroken, VerificationFailed) as error:
        log.warning("parts_not_joined", error=str(error))
        context.note("parts", {"whole": f"its parts do not join: {error}"})
        await step.task.run(step.params, context)
    else:
        ranges, others = len(work.plan.ranges), len(work.plan.parts) - len(work.plan.ranges)
        context.note("parts", {"frames": work.plan.frames, "ranges": ranges, "others": others})
