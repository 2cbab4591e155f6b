"""The context of a running task: the engine's side of `worker.TaskContext`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from worker.core.command import Reason
from worker.core.errors import InvalidJob, Problem, TimedOut, ToolMissing, ToolStalled
from worker.core.hints import nearest
from worker.core.redaction import redact
from worker.engine.attempt.answers import FileAnswers
from worker.media.capabilities import Capabilities
from worker.media.matroska.tracks import with_tracks
from worker.media.probe import media_info, probe_command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from worker.core.command import Exit, Pipeline
    from worker.core.media_info import MediaInfo
    from worker.core.ports import Repository, Runner
    from worker.engine.attempt.progress import ProgressMeter
    from worker.engine.attempt.tool_log import ToolLog
    from worker.engine.attempt.workspace import Workspace

QUESTION_SECONDS = 30.0

log = structlog.get_logger(__name__)


class ToolLookup:
    """The lookups that a task may do before anything runs."""

    def __init__(
        self,
        repository: Repository,
        runner: Runner,
        tools: Mapping[str, str],
        capabilities: Capabilities | None = None,
    ) -> None:
        self._repository = repository
        self._runner = runner
        self._tools = tools
        self._capabilities = capabilities or Capabilities()

    async def option_set(self, module: str, name: str) -> Mapping[str, Any]:
        """Return a stored option set; InvalidJob names it and the nearest ones when there is none."""
        found = await self._repository.option_set(module, name)
        if found is None:
            known = [item.name for item in await self._repository.option_sets(module)]
            hint = nearest(name, known) or "; there are none yet: see `leveret option-sets put`" * (not known)
            raise InvalidJob([Problem("", f"there is no option set {name[:100]!r} for {module}{hint}")])
        return found.options

    def tool(self, name: str) -> str:
        """Return the path of a program; ToolMissing when this host has none."""
        if name not in self._tools:
            raise ToolMissing(f"{name} is not installed here: see `leveret doctor`")
        return self._tools[name]

    def encoder(self, name: str, *, hw_fallback: bool = False) -> str:
        """Return the best encoder of this host for `name`, an encoder or a format; CannotServe when it has none."""
        return self._capabilities.choices(name, hw_fallback=hw_fallback)[0]

    def encoders(self, name: str, *, hw_fallback: bool = False) -> tuple[str, ...]:
        """Return every encoder of this host for `name`, the best first; CannotServe when it has none."""
        return self._capabilities.choices(name, hw_fallback=hw_fallback)

    @property
    def render_node(self) -> str:
        """Return the device that VAAPI encoders are proved on."""
        return self._capabilities.render_node

    async def run(self, pipeline: Pipeline) -> tuple[Exit, ...]:
        """Return how a short tool run ended."""
        return await self._runner.run(pipeline, timeout=QUESTION_SECONDS)


class EngineContext(ToolLookup):
    """The context of one task in one attempt."""

    def __init__(
        self,
        *,
        repository: Repository,
        runner: Runner,
        tools: Mapping[str, str],
        workspace: Workspace,
        meter: ProgressMeter,
        tool_log: ToolLog,
        job_id: str,
        attempt_folder: str,
        stall_seconds: float,
        deadline: float,
        secrets: tuple[str, ...],
        capabilities: Capabilities | None = None,
        answers: FileAnswers | None = None,
    ) -> None:
        super().__init__(repository, runner, tools, capabilities)
        self.once = (answers or FileAnswers()).once
        self._workspace = workspace
        self._meter = meter
        self._tool_log = tool_log
        self._stall_seconds = stall_seconds
        self._deadline = deadline
        self._secrets = secrets
        self.job_id = job_id
        self.attempt_folder = attempt_folder
        self.facts: dict[str, object] = {}
        self.shares: dict[str, Path] = {}
        self.warnings: list[str] = []
        self.manifest: str | None = None
        self.thumbnail: str | None = None
        self.input = workspace.input
        self.is_remote = workspace.is_remote
        self.excerpt = workspace.excerpt
        self.available = workspace.available
        self.version = workspace.version
        self.listing = workspace.listing
        self.output = workspace.output
        self.adopt = workspace.adopt
        self.scratch = workspace.new_scratch()
        self.exists = workspace.exists
        self.retarget = workspace.retarget
        self.withdraw = workspace.withdraw
        self.delete_after = workspace.delete_after

    async def run(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[Exit, ...]:
        """Return how every stage ended; a tool that we had to stop is an error."""
        self._tool_log.begin(pipeline)
        try:
            exits = await self._runner.run(
                pipeline,
                on_line,
                timeout=timeout,
                stall=self._stall_seconds,
                label=str(self._workspace.folder),
                on_error=self._tool_log.line,
            )
        except asyncio.CancelledError:
            self._tool_log.stop()
            raise
        self._tool_log.end(exits)
        for one in exits:
            if one.reason is Reason.STALLED:
                raise ToolStalled(str(one))
            if one.reason is Reason.TIMED_OUT:
                raise TimedOut(str(one))
        return exits

    def share(self, name: str, path: Path) -> None:
        """Give the parts of the job a file."""
        self.shares[name] = path

    def shared(self, name: str) -> Path | None:
        """Return the file that was shared under a name; None where there is none."""
        return self.shares.get(name)

    def seconds_left(self) -> float:
        """Return for how long the job may still run."""
        return max(0.0, self._deadline - time.monotonic())

    async def probe(self, path: Path) -> MediaInfo:
        """Return what a media file is; BadInput when it is none."""
        return await self.once("probe", path, lambda: self._probe(path))

    async def _probe(self, path: Path) -> MediaInfo:
        (answer,) = await self._runner.run(probe_command(self.tool("ffprobe"), path), timeout=QUESTION_SECONDS)
        return await asyncio.to_thread(_with_tracks, media_info(answer, self._workspace.asked_name(path)), path)

    def report(self, fraction: float | None, *, fps: float | None = None, speed: float | None = None) -> None:
        """Tell how much of this task is done."""
        self._meter.report(fraction, fps, speed)

    def note(self, key: str, value: object) -> None:
        """Put a JSON value into the job's record under `facts`."""
        self.facts[key] = value

    def warn(self, message: str) -> None:
        """Put a warning into the job's record and the log."""
        text = redact(message, self._secrets)[:1000]
        self.warnings.append(text)
        log.warning("task_warned", job_id=self.job_id, message=text)

    def set_urls(self, *, manifest: str | None = None, thumbnail: str | None = None) -> None:
        """Say which outputs the record's `manifest_url` and `thumbnail_url` mean."""
        if manifest is not None:
            self.manifest = self._workspace.place_of(manifest)
        if thumbnail is not None:
            self.thumbnail = self._workspace.place_of(thumbnail)


def _with_tracks(info: MediaInfo, path: Path) -> MediaInfo:
    with path.open("rb") as file:
        return with_tracks(info, file)


def seconds_since(started: float) -> float:
    """Return the seconds since a monotonic time, to the millisecond."""
    return round(time.monotonic() - started, 3)
