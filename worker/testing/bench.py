"""A bench that runs one task in a folder, without a broker or a database.

The task gets the context and the workspace that a worker gives it, over a local folder: relative names are workspace
files, `nas://` and absolute paths lie under the bench's root, nothing outside changes.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from worker.adapters.storage.nas import NasStorage
from worker.core.attempt import Attempt
from worker.core.errors import LeveretError
from worker.core.job import TaskSpec
from worker.core.location import External
from worker.core.record import OptionSet
from worker.engine.attempt.context import EngineContext
from worker.engine.attempt.progress import ProgressMeter
from worker.engine.attempt.tool_log import ToolLog
from worker.engine.attempt.workspace import Workspace
from worker.engine.storages import Storages
from worker.registry import Registry
from worker.testing.fakes import make_job
from worker.testing.result import BenchResult, Report, StagedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.command import Exit, Pipeline
    from worker.core.location import Location
    from worker.core.ports import Repository, Runner
    from worker.core.task import Task
    from worker.media.capabilities import Capabilities

STALL_SECONDS: Final = 60.0


class TaskBench(EngineContext):
    """A TaskContext in `folder`: run a task on it, look at what it staged. Several runs are one job.

    `runner` starts the programs; `tools` says where they are, by default on PATH; `capabilities` what the host has
    proved, by default a format is its first software encoder. Files under `root` (`folder`/root) are `nas://name`, or
    their absolute path; links in it may lead into `roots` too. What the task makes is under `files`.
    """

    def __init__(
        self,
        folder: Path,
        runner: Runner,
        *,
        tools: Mapping[str, str] | None = None,
        option_sets: Mapping[str, Mapping[str, Any]] | None = None,
        capabilities: Capabilities | None = None,
        stall_seconds: float = STALL_SECONDS,
        roots: tuple[Path, ...] = (),
    ) -> None:
        self.root, self.files = folder / "root", _attempt_folder(folder)
        self.root.mkdir(parents=True, exist_ok=True)
        self.option_sets = dict(option_sets or {})
        self.pipelines: list[Pipeline] = []
        self._named = _NamedWorkspace(self.files, self.root, roots)
        self._reports = _RecordingMeter([1.0])
        rows = cast("Repository", _OptionSetRows(self.option_sets))
        attempt = Attempt(make_job(job_id="bench"), 1, 1, 1, "bench", 0.0, datetime.now(UTC))
        super().__init__(
            repository=rows,
            runner=runner,
            tools=_ToolsOnPath() if tools is None else tools,
            workspace=self._named,
            meter=self._reports,
            tool_log=ToolLog(rows, attempt),
            job_id=attempt.job.job_id,
            attempt_folder="e1",
            stall_seconds=stall_seconds,
            deadline=float("inf"),
            secrets=(),
            capabilities=capabilities,
        )

    async def run_task(self, task: Task[Any], data: Mapping[str, Any]) -> BenchResult:
        """Return what has been done once `task` ran with `data`; raises what it raises, as a job would."""
        _, params = Registry({task.module: task}).parse(TaskSpec(task.module, data, ""))
        self.scratch = self._named.new_scratch()
        params = await task.prepare(params, self)
        task.files(params)
        try:
            await task.run(params, self)
        finally:
            await task.cleanup(params, self)
        return self.result

    async def run(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[Exit, ...]:
        """Return how every stage ended, as a worker's context does; the pipeline is kept for the result."""
        self.pipelines.append(pipeline)
        return await super().run(pipeline, on_line, timeout=timeout)

    @property
    def result(self) -> BenchResult:
        """Return what the tasks of this bench have done so far."""
        names = self._named.names
        return BenchResult(
            outputs={
                names[str(place)]: StagedFile(one.path, one.role, one.media_type, one.immutable, one.duration)
                for place, one in self._named.staged.items()
            },
            facts=self.facts,
            warnings=self.warnings,
            reports=self._reports.reports,
            deletions=[names[uri] for uri in self._named.deletions],
            manifest=names[self.manifest] if self.manifest else None,
            thumbnail=names[self.thumbnail] if self.thumbnail else None,
            pipelines=self.pipelines,
        )


def _attempt_folder(folder: Path) -> Path:
    """Return a new folder of `folder`: benches that share their root are attempts of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="work-", dir=folder))


class _NamedWorkspace(Workspace):
    """A workspace over a local folder that remembers how the tasks wrote each location: `names`, by URI."""

    def __init__(self, folder: Path, root: Path, roots: tuple[Path, ...]) -> None:
        self.names: dict[str, str] = {}
        destination = External("file", "", f"{folder}/published/")
        super().__init__(folder, destination, Storages.of([NasStorage(root, (root, *roots))]))

    def _locate(self, text: str, *, writing: bool) -> Location:
        location = super()._locate(text, writing=writing)
        if writing:
            self.names[str(self._place(location))] = text
        return location


class _RecordingMeter(ProgressMeter):
    """A meter that keeps every report."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__(weights)
        self.reports: list[Report] = []

    def report(self, fraction: float | None, fps: float | None, speed: float | None) -> None:
        """Keep one report."""
        self.reports.append(Report(fraction, fps, speed))
        super().report(fraction, fps, speed)


class _OptionSetRows:
    """The part of a repository that a task's context reads: option sets, the same ones for every module."""

    def __init__(self, option_sets: Mapping[str, Mapping[str, Any]]) -> None:
        self._option_sets = option_sets

    async def option_set(self, module: str, name: str) -> OptionSet | None:
        """Return one option set."""
        options = self._option_sets.get(name)
        return None if options is None else OptionSet(module=module, name=name, options=options)

    async def option_sets(self, module: str) -> list[OptionSet]:
        """Return all of them."""
        return [OptionSet(module=module, name=name, options=options) for name, options in self._option_sets.items()]


class _ToolsOnPath(dict[str, str]):
    """The programs on PATH, looked up by name."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and shutil.which(name) is not None

    def __missing__(self, name: str) -> str:
        path = shutil.which(name)
        if path is None:
            raise KeyError(name)
        return path


async def refusal(bench: TaskBench, task: Task[Any], data: Mapping[str, Any]) -> LeveretError:
    """Return the error that ends `task` with `data`; AssertionError when it does not fail."""
    try:
        await bench.run_task(task, data)
    except LeveretError as error:
        return error
    raise AssertionError(f"{task.module} ran through with {sorted(data)}")
