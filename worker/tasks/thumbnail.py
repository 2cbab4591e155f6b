"""The module `thumbnail`: one picture of a film."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem, VerificationFailed
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.hls.ladder import film_seconds, shown_size
from worker.media.thumbnail import ThumbnailParams, thumbnail_command, thumbnail_size
from worker.tasks.shared.running import well_run

if TYPE_CHECKING:
    from worker.core.media_info import MediaInfo


class ThumbnailTask(Task[ThumbnailParams]):
    """Takes a picture."""

    module: ClassVar[str] = "thumbnail"
    params = ThumbnailParams
    weight: ClassVar[float] = 0.5

    def files(self, params: ThumbnailParams) -> Files:
        """Return the film and the picture."""
        return Files(
            (FileUse("source", params.source),), (FileUse("output_file", params.output_file, params.overwrite),)
        )

    def requires(self, params: ThumbnailParams) -> frozenset[str]:
        """Return ffmpeg."""
        del params
        return frozenset({"tool:ffmpeg", "tool:ffprobe"})

    async def prepare(self, params: ThumbnailParams, lookup: Lookup) -> ThumbnailParams:
        """Return `params`; ToolMissing without ffmpeg."""
        lookup.tool("ffmpeg")
        return params

    async def run(self, params: ThumbnailParams, context: TaskContext) -> None:
        """Take the picture and look whether it is one of the right size."""
        source = await context.input(params.source)
        info = await context.probe(source)
        if info.video is None:
            raise BadInput(f"{params.source} has no picture")
        seek = _seek(params, info)
        size = thumbnail_size(shown_size(info.video), params)
        target = context.output(params.output_file, role="poster")
        command = thumbnail_command(context.tool("ffmpeg"), source, target, size, seek, exact=params.time is not None)
        await well_run(context, Pipeline((command,), label="thumbnail"), params.source, reads_source=True)
        if not await asyncio.to_thread(target.exists):
            raise BadInput(f"{params.source} has no picture at {seek:.3f} s")
        made = (await context.probe(target)).video
        if made is None or (made.width, made.height) != (size.width, size.height):
            raise VerificationFailed(f"{params.output_file} is no picture of {size}")
        context.set_urls(thumbnail=params.output_file)
        context.report(1.0)


def _seek(params: ThumbnailParams, info: MediaInfo) -> float:
    seconds = film_seconds(info)
    if params.time is None:
        return (seconds or 0.0) / 10
    if seconds is not None and params.time >= seconds:
        raise InvalidJob([Problem("time", f"is {params.time:g} s, but the film lasts {seconds:.3f} s")])
    return params.time
