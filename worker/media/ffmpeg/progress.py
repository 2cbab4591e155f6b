"""ffmpeg's `-progress` lines as figures, and the fraction done that follows from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from worker.media.ffmpeg.options import seconds_of

OPTIONS: Final = ("-progress", "pipe:1", "-stats_period", "0.5")


@dataclass(frozen=True, slots=True)
class Step:
    """One report of ffmpeg; what it calls N/A is None. `seconds` is the furthest stream's time."""

    frame: int | None = None
    fps: float | None = None
    seconds: float | None = None
    bytes: int | None = None
    speed: float | None = None
    ended: bool = False


class Meter:
    """The fraction done, from the lines of `-progress`: monotonic, 0 to 1, None while it cannot be known.

    It goes by frames where their number is known, for `out_time` is that of whichever stream is furthest
    (sound may be far ahead of pictures); else by time.
    """

    def __init__(self, frames: int | None = None, seconds: float | None = None) -> None:
        self._frames, self._seconds = frames, seconds
        self._block: dict[str, str] = {}
        self.step = Step()
        self.fraction: float | None = None

    def line(self, text: str) -> bool:
        """Take one line; return whether it completed a report, which `step` and `fraction` then have."""
        key, separator, value = text.partition("=")
        if not separator:
            return False
        self._block[key.strip()] = value.strip()
        if key.strip() != "progress":
            return False
        self.step = _step(self._block)
        self._block = {}
        self._advance()
        return True

    def _advance(self) -> None:
        done: float | None = None
        if self._frames and self.step.frame is not None:
            done = self.step.frame / self._frames
        elif self._seconds and self.step.seconds is not None:
            done = self.step.seconds / self._seconds
        if done is not None:
            self.fraction = max(self.fraction or 0.0, min(1.0, max(0.0, done)))


def _step(block: dict[str, str]) -> Step:
    # out_time_ms holds microseconds too, and always has; out_time_us is named rightly
    micros = _number(block.get("out_time_us")) or _number(block.get("out_time_ms"))
    seconds = micros / 1e6 if micros is not None else seconds_of(block.get("out_time"))
    frame, size = _number(block.get("frame")), _number(block.get("total_size"))
    return Step(
        frame=int(frame) if frame is not None else None,
        fps=_number(block.get("fps")),
        seconds=max(0.0, seconds) if seconds is not None else None,
        bytes=int(size) if size is not None else None,
        speed=_number(block.get("speed", "").removesuffix("x")),
        ended=block.get("progress") == "end",
    )


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?(e[+-]?\d{1,2})?", text.strip()) else None
