"""The proof that the virtual clock gives this host the frames of the real one, as values: what to run, what to compare.

A worker runs it once, at its start, and renders with the real clock where it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from visualizers.virtual_clock import HEADLESS, shared_environments

if TYPE_CHECKING:
    from pathlib import Path

# Two users, new, changed and deleted files, folders within folders, a name beyond ASCII. One commit, because a film
# is as long as its users take to leave; the real clock needs a sixtieth of a second for each of its renders.
LOG: Final = (
    "1600000000|ada|A|src/core/engine.py\n"
    "1600000000|ada|A|src/core/wheel.rs\n"
    "1600000000|ada|A|docs/readme.md\n"
    "1600000000|Łukasz|A|web/style.css\n"
    "1600000000|Łukasz|M|src/core/engine.py\n"
    "1600000000|ada|D|docs/readme.md\n"
)

SIZE: Final = (256, 144)

# The real clock may lose a frame or start one step late when the host is busy; then the two differ by its fault. A host
# that draws one other film three times is taken at its word, and one that never draws the same film is too busy.
AGREEING: Final = 3
ATTEMPTS: Final = 9


@dataclass(frozen=True, slots=True)
class Proof:
    """Two runs whose standard outputs must be equal, byte for byte; neither takes long, each writes a few MB.

    The virtual one is a pipe of one process for each environment.
    """

    command: tuple[str, ...]
    real: dict[str, str]
    virtual: tuple[dict[str, str], ...]
    framerate: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The proof that the virtual clock may be used here, or the reason why not, as one line."""

    identical: bool
    reason: str


def proof_of(library: Path, log: Path, *, gource: str = "gource", framerate: int = 30, cores: int = 1) -> Proof:
    """Return the runs for a host; `log` is a file that holds LOG, the environments are to be added to the usual."""
    width, height = SIZE
    command = (
        gource,
        "--log-format",
        "custom",
        f"-{width}x{height}",
        "--output-framerate",
        str(framerate),
        "--seconds-per-day",
        "1",
        "--auto-skip-seconds",
        "0.1",
        "--time-scale",
        "4",
        "--stop-at-end",
        "--disable-input",
        "--hide",
        "mouse",
        "--max-files",
        "0",
        # large enough for lights to be drawn cut, as in a large film
        "--bloom-multiplier",
        "3",
        "--key",
        "--title",
        "proof",
        "--output-ppm-stream",
        "-",
        "--path",
        str(log),
    )
    return Proof(command, dict(HEADLESS), shared_environments(library, framerate, cores), framerate)


def frame_bytes(size: tuple[int, int] = SIZE) -> int:
    """Return the bytes of one frame of gource's stream: the header `P6 LF width height 255 LF`, then RGB."""
    width, height = size
    return len(f"P6\n{width} {height} 255\n") + 3 * width * height


def judge(real: bytes, virtual: bytes, *, size: tuple[int, int] = SIZE) -> Verdict:
    """Return whether two streams of frames are the same, and where not, how they differ."""
    unit = frame_bytes(size)
    if not real or len(real) % unit:
        return Verdict(identical=False, reason=f"the real clock wrote {len(real)} bytes, not whole frames of {unit}")
    if real == virtual:
        return Verdict(identical=True, reason=f"{len(real) // unit} frames are identical")
    if len(real) != len(virtual):
        return Verdict(
            identical=False,
            reason=f"the real clock wrote {len(real) / unit:g} frames, the virtual one {len(virtual) / unit:g}",
        )
    first = next(n for n in range(len(real) // unit) if _frame(real, n, unit) != _frame(virtual, n, unit))
    return Verdict(identical=False, reason=f"frame {first} of {len(real) // unit} differs")


def _frame(stream: bytes, number: int, unit: int) -> bytes:
    """Return one frame with its header."""
    return stream[number * unit : (number + 1) * unit]


def judge_frames(real: tuple[str, ...], virtual: tuple[str, ...]) -> Verdict:
    """Return whether two films, each as hashes of its frames, are the same, and where not, how they differ."""
    if not virtual:
        return Verdict(identical=False, reason="the virtual clock wrote no film")
    if len(real) != len(virtual):
        return Verdict(
            identical=False, reason=f"the real clock wrote {len(real)} frames, the virtual one {len(virtual)}"
        )
    for number, pair in enumerate(zip(real, virtual, strict=True)):
        if pair[0] != pair[1]:
            return Verdict(identical=False, reason=f"frame {number} of {len(real)} differs")
    return Verdict(identical=True, reason=f"{len(real)} frames are identical")
