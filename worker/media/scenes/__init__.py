"""Scenes that become films: each visualizer turns typed options into commands, and knows its frames beforehand.

A visualizer is a module of jobs by its own name: subclass `Visualizer`, name the class by an entry point of the group
`leveret.visualizers`. It says what draws the frames and how many there will be; encoding, proving, packaging and
publishing them is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar

from pydantic import Field, StringConstraints, model_validator

from worker.core.job import Model, Place
from worker.core.parts import Division  # noqa: TC001  # pydantic reads it at run time
from worker.core.task import Files, Lookup
from worker.media.verify import DAMAGE_MEANING, Damage, Verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.command import Command, Exit
    from worker.core.media_info import MediaInfo

GROUP: Final = "leveret.visualizers"
LONGEST_SECONDS: Final = 6 * 3600
_MAX_FRAMES: Final = LONGEST_SECONDS * 60


@dataclass(frozen=True, slots=True)
class FrameRange:
    """The exported frames from `first` up to, not including, `last`; `last` None is the end of the film."""

    first: int = 0
    last: int | None = None

    def __post_init__(self) -> None:
        if self.first < 0 or (self.last is not None and self.last <= self.first):
            raise ValueError(f"a range of frames needs 0 <= first < last, not {self.first} and {self.last}")

    def frames(self, total: int) -> int:
        """Return how many frames of a film of `total` frames lie in the range."""
        last = total if self.last is None else min(self.last, total)
        return max(0, last - self.first)


WHOLE: Final = FrameRange()


class SceneParams(Model):
    """The options that every visualizer has beside its own."""

    output: Literal["hls", "mp4"] = Field("hls", description="HLS in segments of two seconds, or one MP4.")
    output_file: Annotated[Place, StringConstraints(pattern=r"\.mp4$")] = Field(
        "video.mp4", description="The MP4's name; relative ones are under the job's destination."
    )
    master_playlist_name: Annotated[str, StringConstraints(pattern=r"^[^/.][^/]{0,190}\.m3u8$")] = Field(
        "master.m3u8", description="The multivariant playlist's name."
    )
    thumbnail: bool = Field(default=True, description="Whether to publish the last frame as a picture.")
    overwrite: bool = Field(default=True, description="Whether files of these names may be replaced.")
    time_limit: Annotated[float, Field(gt=0, le=30 * 86400)] | None = Field(
        None, description="Seconds that drawing may take."
    )
    on_timeout: Literal["fail", "keep"] = Field(
        "fail",
        description="Whether a film that reaches its time_limit fails, or is published as far as it came;"
        " one that may be kept ends before the job's own time does.",
    )
    damage: Damage = Field("refuse", description=DAMAGE_MEANING)
    verify: Verify = Field(
        "probe", description="How the film is proved: by counting its frames, or by decoding all of it too."
    )
    first_frame: Annotated[int, Field(ge=0, le=_MAX_FRAMES)] = Field(0, description="The first frame that is drawn.")
    last_frame: Annotated[int, Field(ge=1, le=_MAX_FRAMES)] | None = Field(
        None, description="The frame before which drawing ends; by default the film's end."
    )

    parts: Division = Field(
        "auto",
        description="Whether several workers draw it together: if it saves time, never, or in parts of given seconds.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> SceneParams:
        if self.last_frame is not None and self.last_frame <= self.first_frame:
            raise ValueError("needs first_frame below last_frame")
        return self

    @property
    def frames(self) -> FrameRange:
        """Return the range of frames that is wanted."""
        return FrameRange(self.first_frame, self.last_frame)


ParamsT = TypeVar("ParamsT", bound=SceneParams)


@dataclass(frozen=True, slots=True)
class Repository:
    """The address of a history, and what may be needed to read it; with `mailmap` the file of that name comes along.

    Errors call it by its `name`, where it has one.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    mailmap: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Shared:
    """The values that ranges of a scene need beside the options: a file, and what was found out once, as JSON."""

    file: Path
    facts: Mapping[str, Any]


class Stage(Lookup, Protocol):
    """The context of a visualizer while it makes its scene: a part of `worker.TaskContext`, and histories."""

    async def input(self, location: str) -> Path:
        """Return the local path of a file to read."""
        ...

    async def listing(self, folder: str) -> tuple[str, ...]:
        """Return the locations of the files in a folder by name; SourceMissing when there is none such."""
        ...

    async def probe(self, path: Path) -> MediaInfo:
        """Return what a media file is; BadInput when it is none."""
        ...

    def scratch(self, name: str) -> Path:
        """Return a path for this job alone, gone with it."""
        ...

    async def history(self, repository: Repository, arguments: Sequence[str]) -> Path:
        """Return the file `{output}` that `git ARGUMENTS` wrote; `{repository}` is a bare clone."""
        ...

    def note(self, key: str, value: object) -> None:
        """Put a JSON value into the job's record."""
        ...

    def warn(self, message: str) -> None:
        """Put a warning into the job's record and the log."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A film that is about to be drawn.

    `frames` is the number of the whole film's. `painters` are joined by pipes, and the last of them writes frames
    to its standard output; there are none where ffmpeg draws by itself. `inputs` are ffmpeg's arguments up to the
    last `-i`, `graph` a filter graph that ends in `[picture]`, in `size` (width and height, even). The first audio
    stream of `sound` is heard. `content` is a hash of what the frames show; without it no film is divided.
    `painted` says that the painters draw `window` alone; else it is cut out of what they draw. A painter on the
    real clock may come to `slack` frames more or fewer than were counted. `shared` saves those who draw ranges of it
    what was done for it once.
    """

    size: tuple[int, int]
    framerate: int
    frames: int
    inputs: tuple[str, ...]
    graph: str
    painters: tuple[Command, ...] = ()
    sound: Path | None = None
    window: FrameRange = WHOLE
    content: str = ""
    painted: bool = False
    slack: int = 0
    shared: Shared | None = None

    @property
    def visible_frames(self) -> int:
        """Return how many frames the film that is made has."""
        return self.window.frames(self.frames)


class Visualizer(ABC, Generic[ParamsT]):
    """One way to make a film of something that is none."""

    module: ClassVar[str]
    """The name in messages."""
    params: ClassVar[type[SceneParams]]
    """The model of the options."""
    tools: ClassVar[frozenset[str]] = frozenset()
    """The programs that it needs beside ffmpeg."""

    def files(self, params: ParamsT) -> Files:
        """Return the files that the options name; those of the film itself are not among them."""
        del params
        return Files()

    async def rehearse(self, lookup: Lookup) -> str:
        """Return in a line what was found out of this host; called when a worker starts, and never fails."""
        del lookup
        return "nothing to try"

    @abstractmethod
    async def scene(self, params: ParamsT, stage: Stage) -> Scene:
        """Return the scene, its frames counted. InvalidJob or BadInput for what no film can be made of."""

    async def renderer(self, lookup: Lookup) -> str | None:
        """Return what decides how a frame looks here, so that others with the same may draw ranges of one film.

        None where no range can be drawn alone.
        """
        del lookup
        return None

    async def range_scene(self, params: ParamsT, stage: Stage, shared: Shared) -> Scene:
        """Return a scene without its sound, of what the whole one `shared`; asked only where it did."""
        del shared
        return await self.scene(params, stage)

    async def sound(self, params: ParamsT, stage: Stage) -> Path | None:
        """Return what is heard with the scene; asked where parts of a film are joined, which are silent."""
        del params, stage
        return None

    def judge(self, scene: Scene, exits: Sequence[Exit]) -> None:
        """Return if the painters, which all ended well, report nothing amiss; VerificationFailed otherwise."""
        del scene, exits


def frames_from_pipe(framerate: int) -> tuple[str, ...]:
    """Return ffmpeg's arguments that take a painter's frames, in PPM, from its pipe."""
    return ("-f", "image2pipe", "-c:v", "ppm", "-framerate", str(framerate), "-i", "pipe:0")
