"""The piece of a film that HandBrake takes: what `start-at` and `stop-at` mean, in seconds.

HandBrake (1.6) passes over an offset that it cannot read, and encodes the whole film: such an offset is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from worker.media.handbrake.values import Value, option_name, option_text
from worker.media.hls.ladder import film_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.core.media_info import MediaInfo

CUTS: Final = ("start-at", "stop-at")
_MOMENT: Final = re.compile(r"^(seconds?|durations?|frames?|pts)[:=](\d{1,9}(?:\.\d{1,9})?)$")
_PTS: Final = 90_000
# Chapters and titles of a disc have lengths that the film's probe does not say; a file is one title.
_UNKNOWN: Final = frozenset({"chapters", "start-at-preview"})


def piece_problems(options: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """Yield the option and the fault of each offset that HandBrake would pass over without a word."""
    units: dict[str, str] = {}
    for name, value in options.items():
        if option_name(name) not in CUTS:
            continue
        match = _MOMENT.match(moment_text(value))
        if match is None:
            yield name, "is no offset; write seconds:10, frames:300 or pts:900000"
            continue
        units[name] = "frames" if match[1].startswith("frame") else "time"
    if len(set(units.values())) > 1:
        yield next(reversed(units)), "has another unit than the other offset: count both in seconds or in frames"


def moment_text(value: Value) -> str:
    """Return an offset as HandBrake reads it, also of a map with one unit: `{"seconds": 10}`."""
    try:
        return option_text(value).replace("=", ":")
    except ValueError:
        return ""


def piece_of(options: Mapping[str, Value], info: MediaInfo) -> tuple[float, float] | None:
    """Return begin and length, in seconds, of what source options take of a film; None where nobody can know.

    `stop-at` counts from where HandBrake starts, and its cuts are exact to a picture or two.
    """
    seconds = film_seconds(info)
    said = {option_name(name): value for name, value in options.items()}
    if seconds is None or _UNKNOWN & said.keys() or option_text(said.get("title", 1)) != "1":
        return None
    start = _moment(said["start-at"], info) if "start-at" in said else 0.0
    length = _moment(said["stop-at"], info) if "stop-at" in said else seconds
    if start is None or length is None:
        return None
    return start, max(0.0, min(length, seconds - start))


def _moment(value: Value, info: MediaInfo) -> float | None:
    """Return the seconds that an offset means; None where frames of an unknown rate are counted."""
    match = _MOMENT.match(moment_text(value))
    if match is None:
        return None
    count, rate = float(match[2]), info.video.frame_rate if info.video else None
    if match[1].startswith("frame"):
        return count / float(rate) if rate else None
    return count / _PTS if match[1] == "pts" else count
