"""Copies that show what an edit list of their source hides: the record says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.media.failure import classify
from worker.media.hidden import NOTED_SECONDS, first_packet_command, has_edits, hidden_elsewhere, hidden_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.core.task import TaskContext


async def hidden_parts(
    path: Path, name: str, info: MediaInfo, streams: Iterable[StreamInfo], context: TaskContext
) -> tuple[float, float]:
    """Return the seconds of `streams` that are hidden before the film's begin, and elsewhere; 0.0 for what is noise."""
    before, elsewhere = 0.0, 0.0
    for stream in streams if has_edits(info) else ():
        if stream.kind not in {"video", "audio"} or stream.attached_picture:
            continue
        (exit_,) = await context.run(first_packet_command(context.tool("ffprobe"), path, stream.index))
        if not exit_.ok:
            raise classify(exit_, name)
        own = hidden_seconds(exit_.output, stream.start or 0.0)
        before, elsewhere = max(before, own), max(elsewhere, hidden_elsewhere(stream, own))
    return before if before > NOTED_SECONDS else 0.0, elsewhere


def warn_of_begin(name: str, before: float, context: TaskContext) -> None:
    """Warn that a copy begins before its film."""
    if before > 0:
        context.warn(
            f"the edit list of {name} hides {before:.2f} s before its begin, and a copy shows them;"
            " encode it, or copy it into .mp4 or .mov, to begin where it does"
        )
