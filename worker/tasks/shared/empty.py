"""Sources with streams that hold nothing: refused by name, whatever a tool says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.errors import BadInput
from worker.media.empty import emptiness, first_frame_command, is_empty

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.core.task import TaskContext


async def holds_nothing(path: Path, stream: StreamInfo, context: TaskContext, *, copied: bool = False) -> bool:
    """Return whether nothing of a picture or sound decodes, or, where it is `copied`, whether it has no packet."""
    if stream.kind not in {"video", "audio"} or stream.attached_picture:
        return False
    command = first_frame_command(context.tool("ffmpeg"), path, stream.index, decoded=not copied)
    (exit_,) = await context.run(command)
    return is_empty(exit_)


async def refuse_empty(path: Path, name: str, streams: Iterable[tuple[StreamInfo, bool]], context: TaskContext) -> None:
    """Return if each of the streams holds something; BadInput with the first that does not.

    Each comes with whether it is copied.
    """
    for stream, copied in streams:
        if await holds_nothing(path, stream, context, copied=copied):
            raise BadInput(f"{emptiness(stream, name, copied=copied)}; choose other streams of the file")


async def with_empty_sounds(path: Path, info: MediaInfo, context: TaskContext) -> MediaInfo:
    """Return `info` with those sounds marked of which nothing decodes."""
    empty = [stream.index for stream in info.audio if await holds_nothing(path, stream, context)]
    return replace(info, streams=tuple(replace(s, empty=True) if s.index in empty else s for s in info.streams))
