"""The order of copied pictures: the times of those that had none must ascend as they are shown."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import MediaInfo

_UNTIMED: Final = frozenset({"avi", "mpeg", "h264", "hevc", "vvc", "mpegvideo", "m4v", "vc1"})
"""Containers whose pictures have no times, or only some have one: ffmpeg makes them up for a copy."""
_INTERVAL: Final = "%+#300"
"""The packets at the begin that are looked at: wrong times are wrong from there."""
_MAX_SHARE: Final = 0.05
_LEAST: Final = 2


def lacks_times(info: MediaInfo) -> bool:
    """Return whether pictures of a source may have no times of their own."""
    return bool(_UNTIMED & set(info.container.split(",")))


def shown_times_command(ffprobe: str, path: Path, index: int) -> Pipeline:
    """Return the command that decodes the first pictures of a stream and lists their times, for `is_disordered`."""
    head = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-select_streams", str(index))
    shown = ("-read_intervals", _INTERVAL, "-show_entries", "frame=pts_time", "-of", "csv=p=0")
    return Pipeline((Command((*head, *shown, "-i", f"file:{path}")),), 1 << 16, "order of pictures")


def is_disordered(listed: str) -> bool:
    """Return whether pictures, in the order in which they are shown, have times that go back again and again."""
    times = [number for line in listed.splitlines() if (number := _number(line.split(",")[0])) is not None]
    back = sum(after <= before for before, after in pairwise(times))
    return back >= _LEAST and back > len(times) * _MAX_SHARE


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
