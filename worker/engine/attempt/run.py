"""One attempt from claim to record: resolve, run, verify, publish, record. It returns or raises; nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.core.attempt import Artifact, Completed, Divided, Result, StateChange
from worker.core.errors import BadInput, CannotServe, DatabaseUnavailable, TimedOut
from worker.core.location import External, parse_location
from worker.core.redaction import redacted
from worker.engine.attempt.answers import FileAnswers
from worker.engine.attempt.context import EngineContext, ToolLookup, seconds_since
from worker.engine.attempt.kept import keep_files, kept_files, kept_result
from worker.engine.attempt.originals import restore_interrupted
from worker.engine.attempt.plan import Resolver, Step, requirements
from worker.engine.attempt.progress import ProgressMeter
from worker.engine.attempt.publication import KEEPING, Publication
from worker.engine.attempt.sources import SharedSources
from worker.engine.attempt.tool_log import ToolLog
from worker.engine.attempt.watch import Watch
from worker.engine.attempt.workspace import Workspace
from worker.engine.parts.sharing import publish_shared, shared_files
from worker.engine.parts.work import MakePart, Wait, Work, WorkFinder, make

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.attempt import Attempt
    from worker.core.ports import HeldLease, Produced
    from worker.engine.host.scratch import AttemptFolder
    from worker.engine.resources import Resources

FIRST_REPORT_SECONDS: Final = 0.2
REPORT_SECONDS: Final = 1.0
LOG_NAME: Final = "leveret.log"


class LocalProduction:
    """A `Production` that works in this process: every attempt has a run of its own."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def execute(self, attempt: Attempt, lease: HeldLease) -> Produced:
        """Return once the job is published and recorded; raise what ended it otherwise."""
        return await AttemptRun(self._resources, attempt, lease).execute()


class AttemptRun:
    """The steps of one attempt over one workspace."""

    def __init__(self, resources: Resources, attempt: Attempt, lease: HeldLease) -> None:
        self._resources = resources
        self._attempt = attempt
        self._lease = lease
        self._answers = FileAnswers()
        self._started = time.monotonic()
        self._deadline = self._started

    async def execute(self) -> Produced:
        """Bring the job from claimed to recorded. Raises whatever ended it; scratch is gone or kept when it does."""
        resources, attempt = self._resources, self._attempt
        kept = await kept_files(resources.repository, attempt)
        name = Path(kept.folder).name if kept else attempt.scratch_name
        with resources.scratch.folder(name) as folder:
            if kept is not None:
                # Only after the lock: another worker's sweep removes a folder that no database row and no lock claims.
                folder.make()
                await resources.repository.drop_kept(attempt.job.job_id, attempt.worker)
            keep = False
            try:
                result: Result | Divided | None = kept_result(kept, attempt.job.job_id)
                if result is None:
                    async with resources.scratch.bounded(folder.path):
                        result = await self._produce(folder)
                if isinstance(result, Divided):
                    return result
                try:
                    await Publication(resources, attempt, self._lease).publish_and_record(result)
                except KEEPING:
                    keep = await keep_files(resources.repository, attempt, folder.path, result)
                    raise
            finally:
                if not keep:
                    await folder.remove()
        return Completed()

    async def _produce(self, folder: AttemptFolder) -> Result | Divided:
        """Return the verified result of all tasks, or that others make it; nothing outside `folder` has changed."""
        resources, job = self._resources, self._attempt.job
        destination = self._destination()
        lookup = ToolLookup(resources.repository, resources.runner, resources.tools, resources.capabilities)
        resolver = Resolver(resources.registry, resources.storages, lookup)
        seconds = min(job.timeout or resources.job_seconds, resources.job_seconds)
        self._deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                # What a part's job has made before is no obstacle to a part either.
                whole = job.part.job if job.part else job.job_id
                confirm = self._lease.confirm
                await restore_interrupted(resources.repository, resources.storages, self._attempt, confirm)
                resolved = await resolver.resolve(job, destination, lambda: resources.repository.planned(whole))
                steps = resolved.steps
                if lacking := resources.capabilities.missing_requirement(requirements(steps)):
                    raise CannotServe(f"this worker lacks {lacking}")
                await resources.on_step("resolved")
                workspace = Workspace(
                    folder.path,
                    resolved.destination,
                    resources.storages,
                    resources.most_outputs,
                    resolved.guarded,
                    sources=SharedSources(resources.scratch.root),
                    is_part=job.part is not None,
                    make=folder.make,
                )
                async with ToolLog(resources.repository, self._attempt) as tool_log:
                    finder = WorkFinder(resources, self._attempt, steps, resolved.destination)
                    planning = self._planning(workspace, tool_log)
                    work = await finder.find(planning, lambda: folder.make() / "parts")
                    if isinstance(work, Wait):
                        await workspace.share()
                        return await self._divide(finder, work, planning.shares)
                    contexts, task_seconds = await self._run(steps, work, workspace, tool_log)
                if job.keep_log:
                    text = tool_log.text or "no tool ran\n"
                    path = workspace.output(LOG_NAME, role="log", media_type="text/plain")
                    await asyncio.to_thread(path.write_text, text)
        except TimeoutError as error:
            raise TimedOut(f"the job took longer than its {seconds:.0f} s") from error
        await resources.on_step("ran")
        artifacts = await workspace.artifacts()
        await resources.on_step("verified")
        return self._result(workspace, contexts, artifacts, task_seconds)

    async def _divide(self, finder: WorkFinder, wait: Wait, shares: Mapping[str, Path]) -> Divided:
        """Let the job wait for its parts; its lease ends with the statement that says so."""
        job_id = self._attempt.job.job_id
        shared = await shared_files(job_id, wait, shares, finder.folder_of_parts())
        await self._resources.on_step("planned")
        divided = await self._lease.last(lambda: finder.divide(wait, shared))
        if shared:
            await publish_shared(self._resources, job_id, shared)
        self._resources.observer.parts("planned", len(wait.plan.parts))
        self._resources.observer.parts("reused", len(wait.made))
        await self._resources.on_step("divided")
        await self._resources.on_state(StateChange.by(self._attempt, "waiting"))
        return divided

    def _destination(self) -> External:
        job = self._attempt.job
        text = job.destination or f"{self._resources.destination}{job.job_id}/"
        place = parse_location(text if text.endswith("/") else text + "/", self._resources.storages.path_map)
        if not isinstance(place, External):
            raise BadInput(f"destination: {text!r} is no folder; say nas://…/, s3://…/ or an absolute path")
        return place

    async def _run(
        self, steps: tuple[Step, ...], work: Work, workspace: Workspace, tool_log: ToolLog
    ) -> tuple[list[EngineContext], list[tuple[str, float]]]:
        meter = ProgressMeter([step.task.weight for step in steps])
        # A job that ends sooner reports its end only.
        reporter = Watch(FIRST_REPORT_SECONDS, lambda: self._report(meter), "progress")
        contexts: list[EngineContext] = []
        seconds: list[tuple[str, float]] = []
        try:
            for index, step in enumerate(steps):
                context = self._context(workspace, meter, tool_log)
                context.shares |= work.shared if isinstance(work, MakePart) else {}
                contexts.append(context)
                meter.begin(index, step.spec.module)
                started = time.monotonic()
                await make(step, work, index, context)
                seconds.append((step.spec.module, seconds_since(started)))
                await self._resources.on_step(f"task {index}")
        finally:
            reporter.cancel()
            for step, context in zip(steps, contexts, strict=False):
                await step.task.cleanup(step.params, context)
        return contexts, seconds

    def _planning(self, workspace: Workspace, tool_log: ToolLog) -> EngineContext:
        """Return the context of the plan, whose progress nobody sees."""
        meter = ProgressMeter([1.0])
        meter.begin(0, "plan")
        return self._context(workspace, meter, tool_log)

    def _context(self, workspace: Workspace, meter: ProgressMeter, tool_log: ToolLog) -> EngineContext:
        resources, attempt = self._resources, self._attempt
        return EngineContext(
            repository=resources.repository,
            runner=resources.runner,
            tools=resources.tools,
            workspace=workspace,
            meter=meter,
            tool_log=tool_log,
            job_id=attempt.job.job_id,
            attempt_folder=attempt.publish_folder,
            stall_seconds=resources.stall_seconds,
            deadline=self._deadline,
            secrets=attempt.job.secrets,
            capabilities=resources.capabilities,
            answers=self._answers,
        )

    async def _report(self, meter: ProgressMeter) -> None:
        """Store and publish the progress when it changed, once a second."""
        reported = None
        while True:
            if meter.now != reported:
                reported = meter.now
                with contextlib.suppress(DatabaseUnavailable):
                    await self._resources.repository.report(self._attempt, reported)
                await self._resources.on_progress(self._attempt, reported)
            await asyncio.sleep(REPORT_SECONDS)

    def _result(
        self,
        workspace: Workspace,
        contexts: list[EngineContext],
        artifacts: tuple[Artifact, ...],
        task_seconds: list[tuple[str, float]],
    ) -> Result:
        job, storages = self._attempt.job, self._resources.storages
        facts: dict[str, object] = dict(job.facts)
        for context in contexts:
            facts |= context.facts
        if warnings := [warning for context in contexts for warning in context.warnings]:
            facts["warnings"] = warnings
        manifest = next((c.manifest for c in reversed(contexts) if c.manifest), None)
        thumbnail = next((c.thumbnail for c in reversed(contexts) if c.thumbnail), None)
        made = [artifact for artifact in artifacts if artifact.role != "log"]
        if manifest is None and len(made) == 1:
            manifest = made[0].uri
        return Result(
            artifacts=artifacts,
            manifest_url=storages.url(manifest) if manifest else None,
            thumbnail_url=storages.url(thumbnail) if thumbnail else None,
            deletions=workspace.deletions,
            facts=redacted(json.loads(json.dumps(facts, default=str)), job.secrets),
            total_seconds=seconds_since(self._started),
            task_seconds=tuple(task_seconds),
        )
