"""The commands that a job would run: its tasks plan for real, and are stopped before the work."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker.core.attempt import Attempt
from worker.core.errors import JobCancelled, LeveretError
from worker.core.location import External, Relative, parse_location
from worker.core.redaction import redact
from worker.engine.attempt.context import EngineContext
from worker.engine.attempt.progress import ProgressMeter
from worker.engine.attempt.tool_log import ToolLog
from worker.engine.attempt.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from worker.core.command import Exit, Pipeline
    from worker.core.job import Job, TaskSpec
    from worker.core.ports import Repository, Runner
    from worker.engine.storages import Storages
    from worker.media.capabilities import Capabilities
    from worker.registry import Registry

REHEARSED: Final = ("ffmpeg", "hls", "handbrake", "loudness", "mkvextract", "mkvmerge", "thumbnail")
"""Modules whose tasks do nothing but read sources and ask tools before their first command."""
SECONDS: Final = 20.0
QUESTION_SECONDS: Final = 60.0
"""The longest bound of a question or a short trial, which the plan depends on; work has a longer one."""
QUESTIONS: Final = frozenset({"-version", "-encoders", "-h", "-J"})
MAX_LETTERS: Final = 20_000
MAX_TASKS: Final = 5
"""The number of a job's tasks that are looked at: somebody waits for the answer."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The first command of one task: `argv` as a shell would take it, redacted, or why it is not known here."""

    module: str
    argv: str = ""
    problem: str = ""


class _Stopped(JobCancelled):
    """The first command is known; a task passes an interruption on, whatever it catches."""


class _Unknown(LeveretError):
    """A source of the task is not there yet, or not on this host."""


class _Rehearsal(EngineContext):
    """A context whose commands are noted and not run; questions are asked for real."""

    command = ""
    is_preparing = True

    async def run(
        self, pipeline: Pipeline, on_line: Callable[[str], None] | None = None, *, timeout: float | None = None
    ) -> tuple[Exit, ...]:
        """Return the answer of a question; raise for the command that would be the work."""
        asks = pipeline.stages[-1].program == "ffprobe" or QUESTIONS & set(pipeline.stages[0].argv)
        if self.is_preparing or asks or (timeout is not None and timeout <= QUESTION_SECONDS):
            return await self._runner.run(
                pipeline, on_line, timeout=timeout or SECONDS, label=str(self._workspace.folder)
            )
        stages = (shlex.join((stage.program, *stage.argv[1:])) for stage in pipeline.stages)
        self.command = redact(" | ".join(stages), self._secrets)[:MAX_LETTERS]
        raise _Stopped("the rehearsal ends here")


@dataclass(frozen=True, slots=True)
class Rehearsals:
    """Rehearses jobs on this host, with its programs and its files, as a worker with other capabilities would."""

    repository: Repository
    runner: Runner
    tools: Mapping[str, str]
    storages: Storages
    destination: str
    scratch: Path

    async def __call__(self, job: Job, registry: Registry, capabilities: Capabilities) -> list[Rehearsed]:
        """Return what each task would run; nothing is written but a folder of scratch, which is gone afterwards."""
        folder = await asyncio.to_thread(self._folder)
        try:
            return await self._tasks(job, registry, capabilities, folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _folder(self) -> Path:
        self.scratch.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="rehearsal-", dir=self.scratch))

    async def _tasks(self, job: Job, registry: Registry, proved: Capabilities, folder: Path) -> list[Rehearsed]:
        attempt = Attempt(job, 1, 1, 1, "rehearsal", SECONDS, datetime.now(UTC))
        place = parse_location(self.destination)
        if not isinstance(place, External):
            return []
        workspace = Workspace(folder, place, self.storages)
        found = []
        for spec in job.tasks[:MAX_TASKS]:
            meter = ProgressMeter([1.0])
            context = _Rehearsal(
                repository=self.repository, runner=self.runner, tools=self.tools, workspace=workspace, meter=meter,
                tool_log=ToolLog(self.repository, attempt), job_id=job.job_id, attempt_folder=attempt.publish_folder,
                stall_seconds=SECONDS, deadline=float("inf"), secrets=job.secrets,
                capabilities=proved,
            )  # fmt: skip
            context.input = self._local(workspace)  # type: ignore[assignment]  # set per instance there too
            found.append(await self._task(spec, registry, context))
        return found

    def _local(self, workspace: Workspace) -> Callable[[str], Coroutine[Any, Any, Path]]:
        async def local(text: str) -> Path:
            location = parse_location(text, self.storages.path_map)
            if isinstance(location, External) and location.scheme not in {"file", "nas"}:
                raise _Unknown(f"{text[:200]} is not on this host: its worker looks at it")
            path = await workspace.input(text)
            if isinstance(location, Relative) or not await asyncio.to_thread(path.exists):
                raise _Unknown("it depends on what the task before makes")
            return path

        return local

    async def _task(self, spec: TaskSpec, registry: Registry, context: _Rehearsal) -> Rehearsed:
        if spec.module not in REHEARSED:
            return Rehearsed(spec.module, problem="it is known when it runs")
        problem = "it runs no command"
        task, params = registry.parse(spec)
        try:
            async with asyncio.timeout(SECONDS):
                params = await task.prepare(params, context)
                context.is_preparing = False
                await task.run(params, context)
        except _Stopped:
            problem = ""
        except TimeoutError:
            problem = f"reading the source takes more than {SECONDS:.0f} s: its worker does it"
        except LeveretError as error:
            problem = redact(str(error), context._secrets)[:500]  # noqa: SLF001 - our own context
        with suppress(LeveretError):
            await task.cleanup(params, context)
        return Rehearsed(spec.module, context.command, problem)
