"""Subtitles that output maps of the ffmpeg module burn: made ASS by a guarded run, then drawn by libass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.core.command import Command, Pipeline
from worker.core.errors import CannotServe, Problem
from worker.media.ffmpeg.formats import GUARDS, own_clock
from worker.tasks.shared.running import run_checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.ffmpeg.params import Burn, FfmpegParams, OutputMap

# libass reads the file by itself. ffmpeg's `subtitles` would open it as any medium, and a list opens further files.
_FILTER: Final = "ass"


def burning_problems(item: OutputMap, path: str) -> Iterator[Problem]:
    """Yield why a subtitle cannot be burnt into what an output map makes."""
    if item.burn is None:
        return
    if item.encoder == "copy":
        yield Problem(f"{path}.burn", "needs an encoder: a picture that is copied cannot be drawn into")
    if {"vf", "filter"} <= item.options.keys():
        yield Problem(f"{path}.options.filter", "goes with no vf: the subtitle follows one chain of filters")


async def prepare_burning(
    params: FfmpegParams, sources: Sequence[Path], folder: Path, context: TaskContext
) -> FfmpegParams:
    """Return the data with the filters that draw the subtitles, whose files are made in `folder`, where ffmpeg runs.

    CannotServe where this host's ffmpeg has no libass.
    """
    maps = []
    for index, item in enumerate(params.output_maps):
        if item.burn is None:
            maps.append(item)
            continue
        await _require_libass(context)
        # a name of ours, below the folder in which ffmpeg runs: nothing in it needs escaping
        name = f"burn-{index}.ass"
        await _convert(item.burn, sources[0], folder / name, context)
        key = "vf" if "vf" in item.options else "filter"
        own = str(item.options.get(key, ""))
        chain = f"{own},{_FILTER}={name}" if own else f"{_FILTER}={name}"
        maps.append(item.model_copy(update={"options": item.options | {key: chain}}))
    return params.model_copy(update={"output_maps": maps})


async def _require_libass(context: TaskContext) -> None:
    pipeline = Pipeline.of(context.tool("ffmpeg"), "-hide_banner", "-h", f"filter={_FILTER}")
    (answer,) = await context.run(pipeline, timeout=30)
    if f"Filter {_FILTER}" not in answer.output:
        raise CannotServe("this worker's ffmpeg has no filter 'ass' (libass), which draws subtitles")


async def _convert(burn: Burn, film: Path, into: Path, context: TaskContext) -> None:
    """Write the subtitle as ASS; BadInput or InvalidJob where it is no text that ffmpeg reads."""
    source = await context.input(burn.source) if burn.source is not None else film
    argv = (
        context.tool("ffmpeg"), "-nostdin", "-hide_banner", "-v", "warning", "-y", *GUARDS,
        *own_clock(await context.probe(source)), "-i", f"file:{source}",
        "-map", f"0:s:{burn.stream or 0}", "-c:s", "ass", "-f", "ass", f"file:{into}",
    )  # fmt: skip
    await run_checked(context, Pipeline((Command(argv),), label="burn"), burn.source or film.name)
