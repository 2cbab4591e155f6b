"""The module `thumbnail`: one picture of a film."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem, VerificationFailed
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.hls.ladder import display_size, film_seconds
from worker.media.thumbnail import (
    ENCODERS,
    Moment,
    ThumbnailParams,
    last_picture,
    moments,
    search_command,
    thumbnail_command,
    thumbnail_size,
)
from worker.tasks.shared.measuring import probe_source
from worker.tasks.shared.pictures import picture_filters
from worker.tasks.shared.running import run_checked

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.media.hls.ladder import Size


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
        """Return ffmpeg, and the encoder of the picture: not every build has one of PNG or WebP."""
        encoder = ENCODERS[PurePosixPath(params.output_file).suffix.lower()]
        return frozenset({"tool:ffmpeg", "tool:ffprobe", f"encoder:{encoder}"})

    async def prepare(self, params: ThumbnailParams, lookup: Lookup) -> ThumbnailParams:
        """Return `params`; ToolMissing without ffmpeg."""
        lookup.tool("ffmpeg")
        return params

    async def run(self, params: ThumbnailParams, context: TaskContext) -> None:
        """Take the picture and look whether it is one of the right size."""
        source = await context.input(params.source)
        info = await probe_source(source, params.source, context)
        if info.video is None:
            raise BadInput(f"{params.source} has no picture")
        target = context.output(params.output_file, role="poster")
        filters = await picture_filters(info.video, context)
        still = _Still(params, source, info, target, thumbnail_size(display_size(info.video), params), filters)
        if params.time is None:
            await _make_telling(still, context)
        else:
            await _make_shown_at(still, params.time, context)
        made = (await context.probe(target)).video
        if made is None or (made.width, made.height) != (still.size.width, still.size.height):
            raise VerificationFailed(f"{params.output_file} is no picture of {still.size}")
        context.set_urls(thumbnail=params.output_file)
        context.report(1.0)


@dataclass(frozen=True, slots=True)
class _Still:
    """The picture that is made: of which film, where, how large, and through which filters."""

    params: ThumbnailParams
    source: Path
    info: MediaInfo
    target: Path
    size: Size
    filters: tuple[str, ...]


async def _make_telling(still: _Still, context: TaskContext) -> None:
    """Make the most representative picture after the film's first tenth; where none comes, what is shown then."""
    tenth = (film_seconds(still.info) or 0.0) / 10
    moment = moments(tenth, still.info)[0]
    if moment.seek is not None and await _write(still, replace(moment, seek=tenth, time=tenth), None, context):
        return
    await _make_shown_at(still, tenth, context)


async def _make_shown_at(still: _Still, time: float, context: TaskContext) -> None:
    """Make the last picture at or before `time`; BadInput for a film without one, InvalidJob for a time past it."""
    seconds = film_seconds(still.info)
    if seconds is not None and time >= seconds:
        raise InvalidJob([Problem("time", f"is {time:g} s, but the film lasts {seconds:.3f} s")])
    for moment in moments(time, still.info):
        search = Pipeline((search_command(context.tool("ffmpeg"), still.source, moment),), label="search")
        end = await run_checked(context, search, still.params.source, reads_source=True, damage=still.params.damage)
        ticks = last_picture(end.tail)
        if ticks is not None and await _write(still, moment, ticks, context):
            return
    raise BadInput(f"{still.params.source} has no picture at {time:.3f} s")


async def _write(still: _Still, moment: Moment, ticks: int | None, context: TaskContext) -> bool:
    """Return whether there is a picture now."""
    command = thumbnail_command(
        context.tool("ffmpeg"), still.source, still.target, still.size, moment, ticks, still.filters
    )
    await run_checked(
        context,
        Pipeline((command,), label="thumbnail"),
        still.params.source,
        reads_source=True,
        damage=still.params.damage,
    )
    return await asyncio.to_thread(still.target.exists)
