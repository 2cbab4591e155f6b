"""Copies that show what an edit list of their source hides: the record says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.media.failure import classify
from worker.media.hidden import (
    NOTED_SECONDS,
    UNEVEN,
    HiddenBehind,
    first_packet_command,
    has_edits,
    hidden_elsewhere,
    hidden_seconds,
    stream_packets_command,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.core.task import TaskContext


async def hidden_parts(
    path: Path, name: str, info: MediaInfo, streams: Iterable[StreamInfo], context: TaskContext, *, every: bool
) -> tuple[float, float]:
    """Return the seconds of `streams` that a copy shows before the film's begin, and elsewhere; 0.0 for what is noise.

    `every` packet may be copied, as by mkvmerge, and not only those that ffmpeg enters a piece by.
    """
    before, elsewhere = 0.0, 0.0
    for stream in streams if has_edits(info) else ():
        if stream.kind not in {"video", "audio"} or stream.attached_picture:
            continue
        (exit_,) = await context.run(first_packet_command(context.tool("ffprobe"), path, stream.index))
        if not exit_.ok:
            raise classify(exit_, name)
        own = hidden_seconds(exit_.output, stream.start or 0.0)
        behind = hidden_elsewhere(stream, own)
        if behind and not every and not await _copies_behind(path, name, stream, context):
            behind = 0.0
        before, elsewhere = max(before, own), max(elsewhere, behind)
    return before if before > NOTED_SECONDS else 0.0, elsewhere


async def _copies_behind(path: Path, name: str, stream: StreamInfo, context: TaskContext) -> bool:
    """Return whether ffmpeg copies some of what is hidden of a stream behind its begin."""
    found = HiddenBehind(stream)
    (exit_,) = await context.run(stream_packets_command(context.tool("ffprobe"), path, stream.index), found.line)
    if not exit_.ok:
        raise classify(exit_, name)
    return found.seconds > UNEVEN


def warn_of_begin(name: str, before: float, context: TaskContext) -> None:
    """Warn that a copy begins before its film."""
    if before > 0:
        context.warn(
            f"the edit list of {name} hides {before:.2f} s before its begin, and a copy shows them;"
            " encode it, or copy it into .mp4 or .mov, to begin where it does"
        )
