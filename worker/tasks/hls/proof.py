"""Proofs of the hls module: what the host can do before, and what the encoders made after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.core.errors import VerificationFailed
from worker.media.capabilities import hardware_trial
from worker.media.hls.plan import Host, hardware_named, is_hdr
from worker.tasks.shared.decoding import prove_by_decoding
from worker.tasks.shared.pictures import maps_tones, mastering_in

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.command import Pipeline
    from worker.core.media_info import MediaInfo
    from worker.core.task import TaskContext
    from worker.media.hls.params import HlsParams
    from worker.media.hls.plan import Plan

SOUND_SLACK: Final = 0.06
"""Seconds that a sound's file may differ: a frame at its start and one at its end, of at most 32 ms."""


async def prove_host(params: HlsParams, source: Path, info: MediaInfo, context: TaskContext) -> Host:
    """Return what this host can do of what the job needs; each is tried, for lists of encoders prove nothing."""
    ffmpeg = context.tool("ffmpeg")
    node = context.render_node
    named = hardware_named(params)
    encoders = [name for name in named if await _works(context, hardware_trial(ffmpeg, name, node))]
    mapping = False
    if is_hdr(info) and params.hdr == "sdr":
        mapping = await maps_tones(context)
    mastering = ""
    if is_hdr(info) and not mapping:
        mastering = await mastering_in(source, context)
    return Host(frozenset(encoders), mapping, node, mastering)


async def _works(context: TaskContext, trial: Pipeline) -> bool:
    (exit_,) = await context.run(trial, timeout=30)
    return exit_.ok


async def prove_mp4s(plan: Plan, params: HlsParams, folder: Path, context: TaskContext) -> None:
    """Return if every encoded file is complete: all frames, all seconds; VerificationFailed with what is not."""
    faults: list[str] = []
    if plan.picture:
        for rendition in plan.picture.renditions:
            info = await context.probe(folder / f"{rendition.name}.mp4")
            video = info.video
            if video is None or video.frames != plan.picture.timing.frames:
                found = video.frames if video else "no"
                faults.append(f"{rendition.name} has {found} frames instead of {plan.picture.timing.frames}")
            elif (video.width, video.height) != (rendition.size.width, rendition.size.height):
                faults.append(f"{rendition.name} is {video.width}x{video.height} instead of {rendition.size}")
    for sound in plan.sounds:
        info = await context.probe(folder / f"{sound.name}.mp4")
        seconds = info.audio[0].duration if info.audio else None
        if seconds is None or abs(seconds - float(plan.duration)) > SOUND_SLACK:
            faults.append(f"{sound.name} lasts {seconds} s instead of {float(plan.duration):.3f} s")
    if faults:
        raise VerificationFailed(f"{params.source}: {'; '.join(faults)}")
    if params.verify == "decode":
        await _decode_all(plan, folder, context)


async def _decode_all(plan: Plan, folder: Path, context: TaskContext) -> None:
    names = [rendition.name for rendition in plan.picture.renditions] if plan.picture else []
    for name in [*names, *(sound.name for sound in plan.sounds)]:
        await prove_by_decoding(folder / f"{name}.mp4", name, context)
