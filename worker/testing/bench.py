"""A bench that runs one task in a folder, without a broker or a database.

It keeps the promises of `worker.TaskContext`: relative names are workspace files, `nas://` and absolute paths lie
under the bench's root, nothing outside changes before `publish`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from itertools import count
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Reason
from worker.core.errors import (
    InvalidJob,
    LeveretError,
    Problem,
    RefusedPath,
    SourceMissing,
    TimedOut,
    ToolMissing,
    ToolStalled,
)
from worker.core.job import TaskSpec
from worker.core.local_names import plain_name
from worker.core.location import External, Location, Relative, is_speakable, parse_location
from worker.core.message.wire import nearest
from worker.engine.attempt.workspace import plainly_named
from worker.media.capabilities import Capabilities
from worker.media.matroska.tracks import with_tracks
from worker.media.probe import media_info, probe_command
from worker.registry import Registry
from worker.testing.result import BenchResult, Report, StagedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from worker.core.command import Exit, Pipeline
    from worker.core.media_info import MediaInfo
    from worker.core.ports import Runner
    from worker.core.spans import Span
    from worker.core.task import Excerpt, Task

STALL_SECONDS: Final = 60.0


class TaskBench:
    """A TaskContext in `folder`: run a task on it, look at what it staged. Several runs are one job.

    `runner` starts the programs; `tools` says where they are, by default on PATH; `capabilities` what the host has
    proved, by default a format is its first software encoder. Files under `root`
    (`folder`/root) are `nas://name`, or their absolute path.
    """

    job_id = "bench"
    attempt_folder = "e1"

    def __init__(
        self,
        folder: Path,
        runner: Runner,
        *,
        tools: Mapping[str, str] | None = None,
        option_sets: Mapping[str, Mapping[str, Any]] | None = None,
        capabilities: Capabilities | None = None,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.root = folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.result = BenchResult()
        self.shares: dict[str, Path] = {}
        self._folder, self._runner, self._stall = folder / "work", runner, stall_seconds
        self._capabilities = capabilities or Capabilities()
        self._tools, self._option_sets = tools, dict(option_sets or {})
        self._staged: dict[Location, str] = {}
        self._numbers = count()

    async def run_task(self, task: Task[Any], data: Mapping[str, Any]) -> BenchResult:
        """Return what has been done once `task` ran with `data`; raises what it raises, as a job would."""
        _, params = Registry({task.module: task}).parse(TaskSpec(task.module, data, ""))
        params = await task.prepare(params, self)
        task.files(params)
        try:
            await task.run(params, self)
        finally:
            await task.cleanup(params, self)
        return self.result

    # --------------------------------------------------------------------- Lookup

    async def option_set(self, module: str, name: str) -> Mapping[str, Any]:
        """Return an option set; InvalidJob names the nearest ones when there is none."""
        if name not in self._option_sets:
            hint = nearest(name, self._option_sets)
            raise InvalidJob([Problem("", f"there is no option set {name[:100]!r} for {module}{hint}")])
        return self._option_sets[name]

    def tool(self, name: str) -> str:
        """Return the path of a program; ToolMissing when there is none."""
        path = shutil.which(name) if self._tools is None else self._tools.get(name)
        if path is None:
            raise ToolMissing(f"{name} is not installed here")
        return path

    def encoder(self, name: str, *, hw_fallback: bool = False) -> str:
        """Return the best encoder for `name`, an encoder or a format; CannotServe when there is none."""
        return self._capabilities.choices(name, hw_fallback=hw_fallback)[0]

    def encoders(self, name: str, *, hw_fallback: bool = False) -> tuple[str, ...]:
        """Return every encoder for `name`, the best first; CannotServe when there is none."""
        return self._capabilities.choices(name, hw_fallback=hw_fallback)

    @property
    def render_node(self) -> str:
        """Return the device that VAAPI encoders are proved on."""
        return self._capabilities.render_node

    async def run(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[Exit, ...]:
        """Return how every stage ended; a tool that had to be stopped is an error."""
        self.result.pipelines.append(pipeline)
        exits = await self._runner.run(pipeline, on_line, timeout=timeout, stall=self._stall, label=str(self._folder))
        for one in exits:
            if one.reason is Reason.STALLED:
                raise ToolStalled(str(one))
            if one.reason is Reason.TIMED_OUT:
                raise TimedOut(str(one))
        return exits

    def seconds_left(self) -> float:
        """Return infinity: a bench has all the time."""
        return float("inf")

    # --------------------------------------------------------------------- files

    def _locate(self, text: str) -> Location:
        location = parse_location(text)
        if isinstance(location, External):
            if location.scheme not in {"file", "nas"}:
                raise RefusedPath(f"{text}: a bench has no {location.scheme} storage")
            inside = f"{self.root}/"
            if location.scheme == "nas":
                return External("file", "", f"{self.root}{location.path}")
            if not location.path.startswith(inside):
                raise RefusedPath(f"{text} lies outside {self.root}")
        return location

    async def input(self, location: str) -> Path:
        """Return the local path of a file to read."""
        place = self._locate(location)
        if place in self._staged:
            return self.result.outputs[self._staged[place]].path
        if isinstance(place, Relative):
            raise InvalidJob([Problem("", f"{location!r} is made by no earlier task")])
        path = self.root / place.path.removeprefix(f"{self.root}/")
        if not await asyncio.to_thread(path.is_file):
            raise SourceMissing(f"{location} does not exist")
        return plainly_named(path, self.scratch(f"sources/{next(self._numbers)}/{plain_name(path.name)}"))

    def is_remote(self, location: str) -> bool:
        """Return whether `location` must be fetched: a bench has it all."""
        del location
        return False

    async def excerpt(self, location: str, size: int, spans: Sequence[Span]) -> Excerpt | None:
        """Return None: a bench reads files in place."""
        del location, size, spans
        return None

    async def listing(self, folder: str) -> tuple[str, ...]:
        """Return the locations of the files in a folder."""
        place = self._locate(folder if folder.endswith("/") else f"{folder}/")
        if isinstance(place, Relative):
            raise InvalidJob([Problem("", f"{folder!r} is no folder outside the workspace")])
        path = self.root / place.path.removeprefix(f"{self.root}/")
        if not await asyncio.to_thread(path.is_dir):
            raise SourceMissing(f"{folder} does not exist")
        entries = await asyncio.to_thread(lambda: list(path.iterdir()))
        names = sorted(entry.name for entry in entries if is_speakable(entry.name) and entry.is_file())
        return tuple(f"{folder.rstrip('/')}/{name}" for name in names)

    async def version(self, location: str) -> str:
        """Return the size and the time of a file."""
        found = await asyncio.to_thread((await self.input(location)).stat)
        return f"{found.st_size}-{found.st_mtime_ns}"

    async def available(self, location: str) -> bool:
        """Return whether a file is staged, or is outside."""
        try:
            await self.input(location)
        except (SourceMissing, InvalidJob):
            return False
        return True

    def share(self, name: str, path: Path) -> None:
        """Keep a file for the parts of the job."""
        self.shares[name] = path

    def shared(self, name: str) -> Path | None:
        """Return the file that was shared under a name; None where there is none."""
        return self.shares.get(name)

    def output(
        self,
        location: str,
        *,
        role: str = "file",
        media_type: str | None = None,
        immutable: bool = False,
        duration: float | None = None,
    ) -> Path:
        """Return the local path for an output, the same one for the same location."""
        place = self._locate(location)
        known = self._staged.get(place)
        if known is not None:
            path = self.result.outputs[known].path
        else:
            path = self._folder / "files" / str(next(self._numbers)) / plain_name(PurePosixPath(place.path).name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.adopt(path, location, role=role, media_type=media_type, immutable=immutable, duration=duration)
        return path

    def adopt(
        self,
        path: Path,
        location: str,
        *,
        role: str = "file",
        media_type: str | None = None,
        immutable: bool = False,
        duration: float | None = None,
    ) -> None:
        """Stage a file that a tool wrote elsewhere in scratch."""
        self.withdraw(location)
        self._staged[self._locate(location)] = location
        self.result.outputs[location] = StagedFile(path, role, media_type, immutable, duration)
        if location in self.result.deletions:
            self.result.deletions.remove(location)

    def scratch(self, name: str) -> Path:
        """Return a path that is never published."""
        path = self._folder / "scratch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def exists(self, location: str) -> bool:
        """Return whether `location` is staged."""
        return self._locate(location) in self._staged

    def retarget(self, location: str, target: str) -> None:
        """Publish a staged file at `target` instead."""
        known = self._staged.pop(self._locate(location))
        staged = self.result.outputs.pop(known)
        self.adopt(staged.path, target, role=staged.role, immutable=staged.immutable, duration=staged.duration)

    def withdraw(self, location: str) -> bool:
        """Forget a staged file; return whether there was one."""
        known = self._staged.pop(self._locate(location), None)
        if known is not None:
            del self.result.outputs[known]
        return known is not None

    def delete_after(self, location: str) -> None:
        """Note an external file for deletion."""
        if isinstance(self._locate(location), External) and location not in self.result.deletions:
            self.result.deletions.append(location)

    # --------------------------------------------------------------------- telling

    async def probe(self, path: Path) -> MediaInfo:
        """Return what a media file is; BadInput when it is none."""
        (answer,) = await self._runner.run(probe_command(self.tool("ffprobe"), path), timeout=30)
        info = media_info(answer, path.name)
        with path.open("rb") as file:
            return with_tracks(info, file)

    def report(self, fraction: float | None, *, fps: float | None = None, speed: float | None = None) -> None:
        """Note progress."""
        self.result.reports.append(Report(fraction, fps, speed))

    def note(self, key: str, value: object) -> None:
        """Note a fact; it must be JSON."""
        json.dumps(value)
        self.result.facts[key] = value

    def warn(self, message: str) -> None:
        """Note a warning."""
        self.result.warnings.append(message)

    def set_urls(self, *, manifest: str | None = None, thumbnail: str | None = None) -> None:
        """Note which outputs the record's URLs mean."""
        self.result.manifest = manifest or self.result.manifest
        self.result.thumbnail = thumbnail or self.result.thumbnail


async def refusal(bench: TaskBench, task: Task[Any], data: Mapping[str, Any]) -> LeveretError:
    """Return the error that ends `task` with `data`; AssertionError when it does not fail."""
    try:
        await bench.run_task(task, data)
    except LeveretError as error:
        return error
    raise AssertionError(f"{task.module} ran through with {sorted(data)}")
