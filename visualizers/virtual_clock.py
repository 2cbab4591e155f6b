"""The virtual clock of gource, as values: how it is built, what a render is given, what it tells, how it is proved.

The library itself is `virtual_clock.c` and `lights.c` beside this module, which say what it does. Nothing here starts
a program.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from worker.media.scenes import WHOLE, FrameRange

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE: Final = Path(__file__).with_name("virtual_clock.c")
LIGHTS: Final = Path(__file__).with_name("lights.c")

# No X server and no graphics card: SDL draws into memory, by Mesa's software driver.
HEADLESS: Final[Mapping[str, str]] = MappingProxyType(
    {"SDL_VIDEODRIVER": "offscreen", "LIBGL_ALWAYS_SOFTWARE": "1"},
)

# The library's own exit codes; it leaves those that gource sets alone.
EXIT_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        90: "the virtual clock was given a setting that is no number in its range",
        91: "the virtual clock does not find a function that it replaces in this gource",
        92: "this gource does not export frames as the virtual clock expects",
        93: "a frame could not be written",
        94: "gource was asked to quit before its frames were written",
        95: "the film ended before the range of frames did",
        96: "the frames of another process that draws the film did not come, or too many did",
    },
)

_REPORT = re.compile(rb"^virtual-clock: exported=(\d+) written=(\d+)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Share:
    """A process's part in a film that `of` processes draw in turns: it writes the frames of all up to `index`."""

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise ValueError(f"a share needs 0 <= index < of, not {self.index} and {self.of}")

    def written(self, frames: int) -> int:
        """Return how many of `frames` frames this process writes: its own, and those that come to it."""
        return frames // self.of * (self.index + 1) + min(frames % self.of, self.index + 1)


ALONE: Final = Share()

# Each has a gource's memory, some 200 MB; what four cores do not draw in time, eight hardly do better.
MAX_PAINTERS: Final = 4


@dataclass(frozen=True, slots=True)
class ClockReport:
    """The report of the library at its end: the frames that the film had so far, and those that it wrote."""

    exported: int
    written: int


def renders_per_frame(framerate: int) -> int:
    """Return how many renders gource makes for each frame that it exports: 3 at 25, 2 at 30, 1 at 60.

    Gource adds the frame rate to itself until it has 60 a second or more (`Gource::setFrameExporter`), and knows
    these three rates only; ValueError for any other.
    """
    if framerate not in {25, 30, 60}:
        raise ValueError(f"gource exports 25, 30 or 60 frames a second, not {framerate}")
    return -(-60 // framerate)


def library_name(source: bytes) -> str:
    """Return a file name that changes with the source, so that a library built from an older one is not used."""
    return f"virtual_clock-{hashlib.sha256(source).hexdigest()[:16]}.so"


def build_command(library: Path, *, source: Path = SOURCE, compiler: str = "cc") -> tuple[str, ...]:
    """Return the command that builds the library; it needs a C compiler and libc's headers, nothing else."""
    return (
        compiler,
        "-std=c11",
        "-O3",  # -O2 does not use the processor's byte shuffles when frames are turned
        "-Wall",
        "-Wextra",
        "-fPIC",
        "-shared",
        "-pthread",
        "-o",
        str(library),
        str(source),
        str(LIGHTS),
        "-ldl",
    )


def shared_environments(
    library: Path, framerate: int, cores: int, frames: FrameRange = WHOLE
) -> tuple[dict[str, str], ...]:
    """Return the environments of the gources that share a film on so many cores, each to be piped into the next.

    Each draws on its part of the cores. Mesa's own threads wait for one another in every frame: where there is a gource
    for each core they cost more than they give.
    """
    painters = max(1, min(cores, MAX_PAINTERS))
    threads = {"LP_NUM_THREADS": str(cores // painters if cores > painters else 0)} if painters > 1 else {}
    shares = (Share(index, painters) for index in range(painters))
    return tuple(render_environment(library, framerate, frames, share) | threads for share in shares)


def render_environment(
    library: Path, framerate: int, frames: FrameRange = WHOLE, share: Share = ALONE
) -> dict[str, str]:
    """Return what gource's environment must hold to write exactly these frames to standard output.

    ValueError for a path that LD_PRELOAD cannot hold: it takes spaces and colons for separators.
    """
    environment = _preload(library, framerate)
    environment["VC_FIRST"] = str(frames.first)
    if frames.last is not None:
        environment["VC_LAST"] = str(frames.last)
    if share.of > 1:
        environment |= {"VC_SHARES": str(share.of), "VC_SHARE": str(share.index)}
    return environment


def count_environment(library: Path, framerate: int) -> dict[str, str]:
    """Return the environment of a dry run, which draws and writes nothing and reports the number of frames.

    The command must be that of the render, its size included: the layout of the film depends on the shape of the
    frame, and since nothing is drawn a large frame costs no more than a small one.
    """
    return {**_preload(library, framerate), "VC_COUNT": "1"}


def read_report(errors: bytes) -> ClockReport | None:
    """Return the report at the end of gource's standard error; None where the library did not come into play."""
    found = _REPORT.findall(errors)
    return ClockReport(int(found[-1][0]), int(found[-1][1])) if found else None


def _preload(library: Path, framerate: int) -> dict[str, str]:
    """Return what every run with the library needs."""
    path = str(library)
    if not library.is_absolute() or any(c in path for c in " :\t\n$"):
        raise ValueError(f"LD_PRELOAD takes an absolute path without spaces, colons and dollars, not {path!r}")
    return {**HEADLESS, "LD_PRELOAD": path, "VC_EVERY": str(renders_per_frame(framerate))}
