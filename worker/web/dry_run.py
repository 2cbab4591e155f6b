"""The dry run of a message: its problems, its lane, who could take it, what similar jobs took."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from worker.control.steer import list_workers
from worker.control.validate import judge, validate
from worker.core.errors import LeveretError
from worker.core.views import Expectation
from worker.media.capabilities import Capabilities
from worker.web.problems import Fault

if TYPE_CHECKING:
    from worker.core.job import Job
    from worker.core.record import WorkerRecord
    from worker.web.services import Services


class Candidate(BaseModel):
    """A worker, and what it lacks for the job; one that lacks nothing can take it."""

    worker_id: str
    status: str
    missing: list[str]

    @property
    def able(self) -> bool:
        """Return whether it could take the job now or when it is free."""
        return not self.missing and self.status not in {"offline", "draining"}


class SourceFact(BaseModel):
    """A file that the job reads: whether it is there, and how large it is."""

    uri: str
    bytes: int | None = None
    problem: str = ""


class FirstCommand(BaseModel):
    """The first command of a task, redacted, with the paths of the server's host; or why it is not known."""

    module: str
    argv: str = ""
    problem: str = ""


class DryRun(BaseModel):
    """The outcome of a dry run."""

    valid: bool
    dialect: str | None = None
    modules: list[str] = Field(default_factory=list)
    lane: str | None = None
    priority: str | None = None
    problems: list[Fault] = Field(default_factory=list)
    requirements: list[str] = Field(default_factory=list)
    sources: list[SourceFact] = Field(default_factory=list)
    candidates: list[Candidate] = Field(default_factory=list)
    who: str = Field("", description="Who can take it, in one sentence.")
    expectation: Expectation | None = Field(None, description="What similar jobs took: the median of the newest.")
    commands: list[FirstCommand] = Field(default_factory=list, description="What each task would run; for operators.")
    unchecked: list[str] = Field(default_factory=list, description="What a look at the message alone cannot show.")


async def dry_run(here: Services, body: bytes, *, rehearse: bool = False) -> DryRun:
    """Return what would become of this message; nothing is stored or published.

    With `rehearse`, its tasks plan what they would run: tools look at the sources then.
    """
    async with here.judging:
        found = await asyncio.to_thread(validate, here.registry, body)
    faults = [Fault(path=problem.path, message=problem.message) for problem in found.problems]
    answer = DryRun(
        valid=found.valid,
        dialect=found.dialect,
        modules=list(found.modules),
        lane=found.lane,
        priority=found.priority,
        problems=faults,
        unchecked=list(found.unchecked),
    )
    if found.job is None or not found.valid:
        return answer
    judged = judge(found.job, here.registry)
    candidates = [_candidate(worker, judged.lane, judged.requirements) for worker in await list_workers(here.control)]
    return answer.model_copy(
        update={
            "requirements": sorted(judged.requirements),
            "sources": await _sources(here, found.job),
            "candidates": candidates,
            "who": _who(candidates, judged.lane),
            "commands": await _commands(here, found.job, candidates) if rehearse else [],
            "expectation": await here.views.expectation(judged.modules),
        }
    )


def _candidate(worker: WorkerRecord, lane: str, requirements: frozenset[str]) -> Candidate:
    missing = [] if lane in worker.lanes else [f"it does not serve the lane {lane}"]
    if worker.capabilities:
        missing += _lacks(worker, requirements)
    return Candidate(worker_id=worker.worker_id, status=worker.status, missing=missing)


def _lacks(worker: WorkerRecord, requirements: frozenset[str]) -> list[str]:
    """Return what a worker has not proved; one whose proof cannot be read is taken to lack nothing."""
    try:
        proved = Capabilities.model_validate(worker.capabilities)
    except ValueError:
        return []
    lines = []
    for name in sorted(requirements):
        kind, _, rest = name.partition(":")
        proofs = proved.tools if kind == "tool" else proved.encoders if kind == "encoder" else {}
        proof = proofs.get(rest)
        if isinstance(proof, str) or proof is False:
            lines.append(f"{rest}: {proof or 'not there'}")
    return lines


def _who(candidates: list[Candidate], lane: str) -> str:
    able = [one.worker_id for one in candidates if one.able]
    if able:
        return f"{len(able)} of {len(candidates)} workers can take it: {', '.join(able[:5])}"
    if not candidates:
        return "no worker has ever been seen here"
    return f"no living worker can take it: it would wait in the lane {lane}"


async def _sources(here: Services, job: Job) -> list[SourceFact]:
    """Return the external files that the job reads, each looked at; what is made by an earlier task is left out."""
    named: dict[str, None] = {}
    for spec in job.tasks:
        task, params = here.registry.parse(spec)
        for use in task.files(params).reads:
            if "://" in use.location or use.location.startswith("/"):
                named[use.location] = None
    return [await _fact(here, location) for location in list(named)[:20]]


async def _fact(here: Services, location: str) -> SourceFact:
    if location.startswith(("https://", "http://")):
        return SourceFact(uri=location, problem="on the web: the worker looks when it runs")
    try:
        place = here.place(location)
        file = await here.reader(place).open(place)
    except LeveretError as error:
        return SourceFact(uri=location, problem=str(error))
    try:
        return SourceFact(uri=location, bytes=file.size)
    finally:
        await file.close()


async def _commands(here: Services, job: Job, candidates: list[Candidate]) -> list[FirstCommand]:
    """Return what each task would run on the first worker that can take the job."""
    able = {one.worker_id for one in candidates if one.able}
    fleet = [worker for worker in await list_workers(here.control) if worker.worker_id in able and worker.capabilities]
    try:
        proved = Capabilities.model_validate(fleet[0].capabilities) if fleet else Capabilities()
    except ValueError:
        proved = Capabilities()
    async with here.rehearsing:
        found = await here.rehearsals(job, here.registry, proved)
    return [FirstCommand(module=one.module, argv=one.argv, problem=one.problem) for one in found]
