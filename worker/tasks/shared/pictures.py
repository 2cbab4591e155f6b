"""The preparation of a picture for a still: fields joined, HDR brought to SDR where this host can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.command import Command, Pipeline
from worker.media.colours import named_colours
from worker.media.hls.encode import HDR_TRANSFERS, tone_mapping
from worker.media.hls.mastering import mastering_command, mastering_of
from worker.media.hls.plan import INTERLACED

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import StreamInfo
    from worker.core.task import TaskContext


async def picture_filters(video: StreamInfo, context: TaskContext) -> tuple[str, ...]:
    """Return the filters of a still of `video`; a warning where its tones cannot be mapped here."""
    filters = [*named_colours(video)]
    filters += ["yadif"] if video.field_order in INTERLACED else []
    if (transfer := video.color_transfer or "") in HDR_TRANSFERS:
        if await maps_tones(context):
            filters.append(tone_mapping(transfer))
        else:
            name = HDR_TRANSFERS[transfer]
            context.warn(f"this host's ffmpeg cannot map tones (zscale is missing): the still of {name} looks grey")
    return tuple(filters)


async def mastering_in(path: Path, context: TaskContext) -> str:
    """Return what a film says of its mastering, as x265's parameters; nothing where it says nothing."""
    (exit_,) = await context.run(mastering_command(context.tool("ffprobe"), path), timeout=60)
    return mastering_of(exit_.output) if exit_.ok else ""


async def maps_tones(context: TaskContext) -> bool:
    """Return whether this host's ffmpeg brings HDR to SDR; it is tried, for lists of filters prove nothing."""
    picture = "color=black:s=64x64:r=1:d=1,format=yuv420p10le"
    graph = f"setparams=range=tv,{tone_mapping('smpte2084')}"
    head = (context.tool("ffmpeg"), "-nostdin", "-hide_banner", "-v", "error", "-f", "lavfi", "-i", picture)
    question = Command((*head, "-vf", graph, "-frames:v", "1", "-f", "null", "-"))
    (exit_,) = await context.run(Pipeline((question,), label="trial"), timeout=30)
    return exit_.ok
