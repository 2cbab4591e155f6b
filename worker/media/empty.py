"""Streams that are declared and hold nothing: no packet, or none of which a picture or a sound decodes.

Recorders without a microphone, editors and players that end before the first packet leave them. A container may give
such a stream the film's length; only a try shows it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from worker.core.command import Command, Pipeline
from worker.media.failure import classify, is_host_shortage
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.command import Exit
    from worker.core.media_info import MediaInfo, StreamInfo

_NO_TIME: Final = re.compile(r"^[0:.]+$")
_LINES_BYTES: Final = 4096


def may_be_empty(stream: StreamInfo, info: MediaInfo) -> bool:
    """Return whether a picture or sound may be empty, as far as the file's headers show."""
    if stream.kind not in {"video", "audio"} or stream.attached_picture:
        return False
    known = stream.sample_rate and stream.channels if stream.kind == "audio" else stream.width and stream.pixel_format
    lasting = stream.duration if stream.duration is not None else info.duration
    # Matroska counts a stream's own length in a tag, and ffprobe gives every stream the file's
    stated = [value for key, value in stream.tags.items() if key.upper().startswith("DURATION")]
    return not known or not lasting or any(map(_NO_TIME.match, stated))


def first_frame_command(ffmpeg: str, path: Path, index: int, *, decoded: bool) -> Pipeline:
    """Return the command that prints a line for the first decoded frame of a stream, or for its first packet."""
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "error", *GUARDS, "-i", f"file:{path}", "-map", f"0:{index}")
    made = ("-frames", "1") if decoded else ("-c", "copy", "-frames", "1")
    return Pipeline((Command((*head, *made, "-f", "framecrc", "-")),), _LINES_BYTES, "first frame")


def is_empty(exit_: Exit) -> bool:
    """Return whether `first_frame_command` found nothing; what stopped it is raised where that was this host."""
    if any(line and not line.startswith("#") for line in exit_.output.splitlines()):
        return False
    if exit_.signal is not None or is_host_shortage(exit_.complaint):
        raise classify(exit_)
    return True


def emptiness(stream: StreamInfo, name: str, *, copied: bool = False) -> str:
    """Return in words that a stream of the file `name` holds nothing."""
    kind = {"video": "picture", "audio": "sound"}.get(stream.kind, stream.kind)
    lacks = "holds no packet" if copied else "holds nothing that decodes"
    return f"the {kind} 0:{stream.index} ({stream.codec}) of {name} {lacks}"
