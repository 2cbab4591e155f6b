"""Languages that ffmpeg does not write: written to a Matroska file, or warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.command import Pipeline
from worker.core.errors import ToolMissing
from worker.media.failure import failed_stage
from worker.media.matroska.merge import matroska_failure
from worker.media.matroska.tracks import lost_languages, retag_command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.core.task import TaskContext


async def keep_languages(
    sources: Sequence[StreamInfo], made: MediaInfo, output: Path, name: str, context: TaskContext
) -> MediaInfo:
    """Return what the output is once its languages are those of the streams that it was made of.

    ffmpeg writes the three letters of ISO 639-2 alone: `zh-Hans` becomes `chi`. mkvpropedit says the whole tag again in
    Matroska; what stays lost is a warning.
    """
    lost = lost_languages(sources, made)
    why = "this container holds none such"
    if lost and "matroska" in made.container:
        try:
            command = retag_command(context.tool("mkvpropedit"), output, lost)
            exits = await context.run(Pipeline((command,), label="languages"))
        except ToolMissing:
            why = "mkvpropedit is not here"
        else:
            if bad := failed_stage(exits):
                raise matroska_failure(bad, name)
            made = await context.probe(output)
            lost, why = lost_languages(sources, made), "mkvpropedit wrote others"
    if lost:
        tags = ", ".join(dict.fromkeys(tag for _, tag in lost))
        context.warn(f"{name} says less of its languages than its sources, which say {tags}: {why}")
    return made
