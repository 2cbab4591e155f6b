"""WebVTT: cues from text, and the segments of a subtitle rendition with their place on the film's clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_STAMP: Final = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)\.(\d{3})"
_TIMES: Final = re.compile(rf"^{_STAMP}[ \t]+-->[ \t]+{_STAMP}[ \t]*(.*)$")


class CueError(ValueError):
    """A text is no WebVTT."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown from `start` to `end`, in seconds; `settings` place it."""

    start: float
    end: float
    text: str
    settings: str = ""


def parse_cues(text: str) -> tuple[Cue, ...]:
    """Return the cues in `text` by their start; notes, styles and regions are left out. CueError when it is none."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not re.match(r"WEBVTT(?:[ \t\n]|$)", text):
        raise CueError("does not begin with WEBVTT")
    cues = [cue for block in re.split(r"\n{2,}", text) if (cue := _cue(block)) is not None]
    return tuple(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def _cue(block: str) -> Cue | None:
    lines = block.strip("\n").split("\n")
    for index, line in enumerate(lines[:2]):
        if match := _TIMES.match(line):
            start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:8])
            body = "\n".join(lines[index + 1 :]).strip("\n")
            return Cue(start, end, body, match[9].strip()) if end > start and body.strip() else None
    return None


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in parts)
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def stamp(seconds: float) -> str:
    """Return `00:01:02.500`."""
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}.{whole % 1000:03d}"


def render_cues(cues: tuple[Cue, ...], *, first_tick: int | None = None) -> str:
    """Return the text of a WebVTT file.

    `first_tick` is the film's start on the 90 kHz clock of its segments, for the X-TIMESTAMP-MAP that HLS wants
    (RFC 8216 3.5); without it the text stands for itself.
    """
    head = "WEBVTT" if first_tick is None else f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{first_tick},LOCAL:00:00:00.000"
    blocks = [f"{stamp(cue.start)} --> {stamp(cue.end)} {cue.settings}".rstrip() + f"\n{cue.text}" for cue in cues]
    return "\n\n".join([head, *blocks]) + "\n"


def segment_cues(cues: tuple[Cue, ...], durations: list[float]) -> tuple[tuple[Cue, ...], ...]:
    """Return the cues of each segment of `durations`; one that crosses a border stands, whole, in both."""
    parts: list[tuple[Cue, ...]] = []
    start = 0.0
    for duration in durations:
        end = start + duration
        parts.append(tuple(cue for cue in cues if cue.start < end and cue.end > start))
        start = end
    return tuple(parts)
