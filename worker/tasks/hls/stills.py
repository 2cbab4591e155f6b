"""Stills of the hls module: the poster, and the storyboard's sheets, from renditions that are made anyway."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from worker.core.command import Command, Pipeline
from worker.core.errors import VerificationFailed
from worker.media.hls.encode import HDR_TRANSFERS, tone_mapping
from worker.media.hls.files import PlannedFile
from worker.media.hls.layout import Layout, under
from worker.media.hls.storyboard import Storyboard, poster_argv, sheet_name, storyboard_argv, storyboard_plan
from worker.tasks.shared.pictures import maps_tones
from worker.tasks.shared.running import run_checked

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.hls.plan import Plan


async def tone_filters(plan: Plan, context: TaskContext) -> tuple[str, ...]:
    """Return the filters that bring the renditions' tones to those of SDR; a warning where this host has none.

    A still cannot declare HDR: a player would show its values as SDR, which looks grey.
    """
    kept = plan.picture.video_range if plan.picture else "SDR"
    if kept == "SDR":
        return ()
    if await maps_tones(context):
        return (tone_mapping(next(transfer for transfer, name in HDR_TRANSFERS.items() if name == kept)),)
    context.warn(f"this host's ffmpeg cannot map tones (zscale is missing): the stills of {kept} look grey")
    return ()


async def storyboard(plan: Plan, folder: Path, filters: tuple[str, ...], context: TaskContext) -> Storyboard | None:
    """Return the storyboard that was made of the least rendition; None without a picture."""
    if plan.picture is None:
        return None
    least = min(plan.picture.renditions, key=lambda rendition: rendition.size.pixels)
    board = storyboard_plan(least.size, plan.picture.timing)
    target = folder / "out" / "storyboard"
    await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)
    argv = storyboard_argv(board, context.tool("ffmpeg"), folder / f"{least.name}.mp4", target, filters)
    await run_checked(context, Pipeline((Command(argv),), label="storyboard"), "the storyboard")
    sizes = await asyncio.to_thread(_sizes, target)
    wanted = {sheet_name(number + 1) for number in range(board.sheets)}
    if set(sizes) != wanted or not all(sizes.values()):
        raise VerificationFailed(f"the storyboard has {len(sizes)} sheets instead of {len(wanted)}")
    return Storyboard(board, tuple(sizes[name] for name in sorted(sizes)))


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


async def poster(
    plan: Plan, layout: Layout, folder: Path, filters: tuple[str, ...], context: TaskContext
) -> PlannedFile | None:
    """Return the poster, made of the greatest rendition; None without a picture."""
    if plan.picture is None:
        return None
    greatest = max(plan.picture.renditions, key=lambda rendition: rendition.size.pixels)
    keys = math.ceil(plan.picture.timing.frames / plan.picture.timing.gop)
    target = folder / "out" / "poster.jpg"
    argv = poster_argv(context.tool("ffmpeg"), folder / f"{greatest.name}.mp4", target, keys, filters)
    await run_checked(context, Pipeline((Command(argv),), label="poster"), "the poster")
    info = await context.probe(target)
    if info.video is None or info.video.width != greatest.size.width:
        raise VerificationFailed("the poster is no picture of the film's size")
    return PlannedFile(under(layout.folder, "poster.jpg"), "poster", immutable=True, local="poster.jpg")
