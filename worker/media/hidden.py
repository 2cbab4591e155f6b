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
UNEVEN: Final = 0.25
"""The seconds by which a film's frames may differ from its length without an edit list."""
_BEGIN: Final = "%+#1"
_FIELDS: Final = 2


def has_edits(info: MediaInfo) -> bool:
    """Return whether a container may hide packets."""
    return "mov" in info.container.split(",")


def hidden_elsewhere(stream: StreamInfo, before: float) -> float:
    """Return the seconds of a picture that are neither shown nor hidden `before` its begin, by its count of frames."""
    if stream.kind != "video" or not (stream.frames and stream.frame_rate and stream.duration):
        return 0.0
    rest = float(stream.frames / stream.frame_rate) - stream.duration - before
    return rest if rest > UNEVEN else 0.0


class HiddenBehind:
    """The seconds of a stream that are hidden behind its begin, of the lines that `stream_packets_command` writes.

    ffmpeg enters every piece at a key frame: what it copies with the piece is listed as discarded.
    """

    def __init__(self, stream: StreamInfo) -> None:
        self._usual = float(1 / stream.frame_rate) if stream.frame_rate else 0.0
        self._begun = False
        self.seconds = 0.0

    def line(self, text: str) -> None:
        """Take one packet: `duration,flags`."""
        parts = text.split(",")
        if len(parts) < _FIELDS:
            return
        if "D" not in parts[1]:
            self._begun = True
        elif self._begun:
            self.seconds += _number(parts[0]) or self._usual


def stream_packets_command(ffprobe: str, path: Path, index: int) -> Pipeline:
    """Return the command that lists the packets of a stream, for `HiddenBehind`."""
    head = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-select_streams", str(index))
    shown = ("-show_entries", "packet=duration_time,flags", "-of", "csv=p=0")
    return Pipeline((Command((*head, *shown, "-i", f"file:{path}")),), 4096, "hidden packets")


def first_packet_command(ffprobe: str, path: Path, index: int) -> Pipeline:
    """Return the command that lists the first packet of a stream, for `hidden_seconds`."""
    head = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-select_streams", str(index))
    shown = ("-read_intervals", _BEGIN, "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0")
    return Pipeline((Command((*head, *shown, "-i", f"file:{path}")),), 4096, "first packet")


def hidden_seconds(listed: str, start: float) -> float:
    """Return how long before a stream's `start` its first packet is, where it is one that is not shown."""
    parts = (listed.splitlines() or [""])[0].split(",")
    if len(parts) < _FIELDS or "D" not in parts[1]:
        return 0.0
    first = _number(parts[0])
    return 0.0 if first is None else max(0.0, start - first)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
