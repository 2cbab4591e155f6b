"""The plug-in API: what a task is, and all that it may touch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from worker.core.command import Exit, Pipeline
    from worker.core.media_info import MediaInfo
    from worker.core.spans import Span

ParamsT = TypeVar("ParamsT", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileUse:
    """A file that a task will read, write or remove: where its data says so, and the location as written.

    `overwrite` says that a written file may replace one that exists.
    """

    path: str
    location: str
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Files:
    """All files of a task, so that the whole job can be judged before its first task runs.

    `reads` must exist or be made by an earlier task, `writes` are made, `removes` are gone afterwards (for
    the tasks that follow).
    """

    reads: tuple[FileUse, ...] = ()
    writes: tuple[FileUse, ...] = ()
    removes: tuple[FileUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A copy of a remote file with some of its bytes and holes elsewhere; `fetched` bytes came for it just now."""

    path: Path
    fetched: int


class Lookup(Protocol):
    """The lookups that a task may do before anything runs."""

    async def option_set(self, module: str, name: str) -> Mapping[str, Any]:
        """Return a stored option set; InvalidJob names it and the nearest ones when there is none."""
        ...

    def tool(self, name: str) -> str:
        """Return the path of the program `name` (`ffmpeg`, `mkvmerge`, …); ToolMissing when there is none."""
        ...

    def encoder(self, name: str, *, hw_fallback: bool = False) -> str:
        """Return the encoder of this host that `name` means: itself, or for a format (`h264`) the best proved one.

        `hw_fallback` lets a software encoder of the same format stand in for a hardware encoder that this host
        lacks. Raises CannotServe: then the job goes to another worker, charged to nobody.
        """
        ...

    def encoders(self, name: str, *, hw_fallback: bool = False) -> tuple[str, ...]:
        """Return every encoder of this host that may do what `name` asks for, the best first; as `encoder`."""
        ...

    @property
    def render_node(self) -> str:
        """Return the device that this host's VAAPI encoders are proved on: `/dev/dri/renderD128`."""
        ...

    async def run(self, pipeline: Pipeline) -> tuple[Exit, ...]:
        """Return how a short tool run (a question, bounded to 30 s) ended."""
        ...


class TaskContext(Lookup, Protocol):
    """All that a running task may touch."""

    @property
    def job_id(self) -> str:
        """Return the id of the job."""
        ...

    @property
    def attempt_folder(self) -> str:
        """Return the name of the folder that this attempt's immutable many-file outputs live under."""
        ...

    def seconds_left(self) -> float:
        """Return for how long the job may still run; infinite where it has no bound."""
        ...

    async def input(self, location: str) -> Path:
        """Return the local path of a file to read: staged by an earlier task, on the NAS, or fetched.

        Raises SourceMissing, RefusedPath, StorageUnavailable.
        """
        ...

    def is_remote(self, location: str) -> bool:
        """Return whether a file must be fetched before it is read."""
        ...

    async def excerpt(self, location: str, size: int, spans: Sequence[Span]) -> Excerpt | None:
        """Return a copy of a remote file of `size` bytes that has those of `spans`.

        None where `input` is the better way: the file is here, or on its way, or its server sends no ranges.
        """
        ...

    def share(self, name: str, path: Path) -> None:
        """Give the parts of the job a file, while it is planned: it becomes that of the part whose file has this name.

        A part gets it by `shared`; where it has got lost it is made as any other part.
        """
        ...

    def shared(self, name: str) -> Path | None:
        """Return the local path of the file that was shared under a name; None where there is none yet."""
        ...

    def output(
        self,
        location: str,
        *,
        role: str = "file",
        media_type: str | None = None,
        immutable: bool = False,
        duration: float | None = None,
    ) -> Path:
        """Return the local path to write; what is there at the end of the job is published at `location`.

        The name keeps the suffix of `location`. Call it again for the same location to add what is known later
        (the `duration`).
        """
        ...

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
        """Publish a file that a tool wrote elsewhere in scratch, as `output` would have."""
        ...

    async def listing(self, folder: str) -> tuple[str, ...]:
        """Return the locations of the files in a folder by name, without its folders; SourceMissing for none such."""
        ...

    async def version(self, location: str) -> str:
        """Return what changes when an external file does: its size and time, or its tag. SourceMissing for none."""
        ...

    async def available(self, location: str) -> bool:
        """Return whether a file is staged by this job, or is outside now."""
        ...

    def scratch(self, name: str) -> Path:
        """Return a path for this task alone; it is never published, and gone with the attempt."""
        ...

    def exists(self, location: str) -> bool:
        """Return whether `location` is staged by this job."""
        ...

    def retarget(self, location: str, target: str) -> None:
        """Publish a staged file at `target` instead; its bytes stay where they are."""
        ...

    def withdraw(self, location: str) -> bool:
        """Forget a staged file; return whether there was one."""
        ...

    def delete_after(self, location: str) -> None:
        """Delete an external file once the job is recorded as completed."""
        ...

    async def run(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[Exit, ...]:
        """Return how every stage ended; `on_line` gets each line of the last stage's standard output.

        Raises ToolStalled, TimedOut (of the job or of `timeout`, seconds), ToolMissing, Interrupted. A tool that
        failed by itself is no exception here: look at the exits.
        """
        ...

    async def probe(self, path: Path) -> MediaInfo:
        """Return what a media file is; BadInput when it is none."""
        ...

    async def once(self, question: str, path: Path, look: Callable[[], Awaitable[T]]) -> T:
        """Return what `look` finds out about a file; the same `question` is asked once an attempt.

        A file that has changed meanwhile is looked at again. What `look` warns of is not said again.
        """
        ...

    def report(self, fraction: float | None, *, fps: float | None = None, speed: float | None = None) -> None:
        """Tell how much of this task is done, 0 to 1, or None where no honest figure exists."""
        ...

    def note(self, key: str, value: object) -> None:
        """Put a JSON value into the job's record under `facts`."""
        ...

    def warn(self, message: str) -> None:
        """Put a warning into the job's record and the log."""
        ...

    def set_urls(self, *, manifest: str | None = None, thumbnail: str | None = None) -> None:
        """Say which outputs (locations) the record's `manifest_url` and `thumbnail_url` mean."""
        ...


class Task(ABC, Generic[ParamsT]):
    """One kind of work. Subclass it, name it by an entry point of the group `leveret.tasks`."""

    module: ClassVar[str]
    """The name in messages."""
    params: ClassVar[type[BaseModel]]
    """The model of the task's data; `model_config` should forbid extra fields."""
    weight: ClassVar[float] = 1.0
    """This task's share of the job's progress, relative to the others'."""

    def files(self, params: ParamsT) -> Files:
        """Return the files that `params` names."""
        del params
        return Files()

    def requires(self, params: ParamsT) -> frozenset[str]:
        """Return the capabilities that a worker must have: `encoder:libx265`, `tool:mkvmerge`, …."""
        del params
        return frozenset()

    async def prepare(self, params: ParamsT, lookup: Lookup) -> ParamsT:
        """Return `params` with all that must be looked up (option sets); refuse what cannot run here or anywhere.

        Raises InvalidJob or BadInput. Called for every task before the first one runs.
        """
        del lookup
        return params

    @abstractmethod
    async def run(self, params: ParamsT, context: TaskContext) -> None:
        """Do the work. Raise an error of `worker.core.errors`; return only when the outputs are proved."""

    async def cleanup(self, params: ParamsT, context: TaskContext) -> None:
        """Release what `run` took beside scratch; called once for each task that began, however it ended."""
        del params, context
