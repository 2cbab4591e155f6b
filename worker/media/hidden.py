"""The pictures and sounds that an edit list of MP4 hides: those before the film's begin, after its end, or in gaps.

A decoder drops it. A copy shows it: into a container without edit lists the begin, into any the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo

NOTED_SECONDS: Final = 0.1
"""More than any encoder of sounds needs to begin, which containers note in another way."""
KEEPERS: Final = frozenset({".mp4", ".m4v", ".m4a", ".mov", ".3gp"})
"""The suffixes of outputs whose containers have edit lists."""
_UNEVEN: Final = 0.25
"""The seconds by which a film's frames may differ from its length without an edit list."""
_BEGIN: Final = "%+#1"
_FIELDS: Final = 2


def has_edits(info: MediaInfo) -> bool:
    """Return whether a container may hide packets."""
    return "mov" in info.container.split(",")


def hidden_elsewhere(stream: StreamInfo, before: float) -> float:
    """Return the seconds of a picture that are neither shown nor hidden `before` its begin."""
    if stream.kind != "video" or not (stream.frames and stream.frame_rate and stream.duration):
        return 0.0
    rest = float(stream.frames / stream.frame_rate) - stream.duration - before
    return rest if rest > _UNEVEN else 0.0


def first_packet_command(ffprobe: str, path: Path, index: int) -> Pipeline:
    """Return what lists the first packet of a stream, for `hidden_seconds`."""
    head = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-select_streams", str(index))
    shown = ("-read_intervals", _BEGIN, "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0")
    return Pipeline((Command((*head, *shown, "-i", f"file:{path}")),), 4096, "first packet")


def hidden_seconds(listed: str, start: float) -> float:
    """Return how long before a stream's `start` its first packet is, where it is one that is not shown."""
    parts = (listed.splitlines() or [""])[0].split(",")
    if len(parts) < _FIELDS or "D" not in parts[1]:
        return 0.0
    try:
        return max(0.0, start - float(parts[0]))
    except ValueError:
        return 0.0
