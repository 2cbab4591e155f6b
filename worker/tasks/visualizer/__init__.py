"""The one task of all visualizers: a scene drawn, encoded, proved, and packaged as any other film."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from worker.core.errors import BadInput, InvalidJob, TimedOut, ToolFailed, VerificationFailed
from worker.core.task import Files, FileUse, Task
from worker.media.ffmpeg.progress import Meter
from worker.media.hls.files import PlannedFile
from worker.media.hls.params import HlsParams
from worker.media.scenes import GROUP, SceneParams, Visualizer
from worker.media.scenes.film import (
    SOUND,
    copy_command,
    film_pipeline,
    join_command,
    last_frame_command,
    plan_of,
    shortened_plan,
)
from worker.media.verify import Expected, ExpectedStream, check
from worker.registry import plugins
from worker.tasks.hls.finish import finish_presentation, package, stage_presentation
from worker.tasks.hls.proof import prove_mp4s
from worker.tasks.shared.decoding import require_undamaged
from worker.tasks.shared.measuring import ends_short
from worker.tasks.shared.parts import Builds
from worker.tasks.shared.running import run_checked
from worker.tasks.visualizer.ranges import Ranges
from worker.tasks.visualizer.stage import Stage, require_success, windowed_scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from worker.core.parts import Division, Fleet, Part, Whole
    from worker.core.parts import Plan as PartsPlan
    from worker.core.ports import Repositories
    from worker.core.task import Lookup, TaskContext
    from worker.media.hls.plan import Plan
    from worker.media.scenes import Scene

COUNTED: Final = 0.03
DRAWN: Final = 0.93
# the share of a job's time for drawing: the rest is for packaging and publishing a film that was cut short
DRAWING_SHARE: Final = 0.75


def visualizer_tasks(
    repositories: Repositories, points: Iterable[EntryPoint] | None = None
) -> tuple[VisualizerTask, ...]:
    """Return a task for each installed visualizer. Misconfigured for a plug-in that is broken."""
    installed: tuple[Visualizer[Any], ...] = plugins(GROUP, Visualizer, points)  # type: ignore[type-abstract]  # a base
    return tuple(VisualizerTask(found, repositories) for found in installed)


class VisualizerTask(Task[SceneParams]):
    """Makes films of one kind of scene."""

    weight = 10.0

    def __init__(self, visualizer: Visualizer[Any], repositories: Repositories) -> None:
        self.module = visualizer.module  # type: ignore[misc]  # one class serves every module
        self.params = visualizer.params  # type: ignore[misc]
        self._visualizer = visualizer
        self._repositories = repositories
        self._builds = Builds()

    def files(self, params: SceneParams) -> Files:
        """Return what the visualizer reads, and the file of a fixed name that is made."""
        found = self._visualizer.files(params)
        path, place = _main(params)
        return Files(found.reads, (*found.writes, FileUse(path, place, params.overwrite)), found.removes)

    def requires(self, params: SceneParams) -> frozenset[str]:
        """Return the programs that draw and encode."""
        packaging = {"packager"} if params.output == "hls" else set()
        return frozenset(f"tool:{name}" for name in {"ffmpeg", "ffprobe", *packaging, *self._visualizer.tools})

    async def rehearse(self, lookup: Lookup) -> str:
        """Return in a line what the visualizer found out of this host."""
        return await self._visualizer.rehearse(lookup)

    async def prepare(self, params: SceneParams, lookup: Lookup) -> SceneParams:
        """Return `params`; ToolMissing where a program is not installed."""
        for name in sorted(self.requires(params)):
            lookup.tool(name.removeprefix("tool:"))
        return params

    async def run(self, params: SceneParams, context: TaskContext) -> None:
        """Make the scene, draw it, prove the film, package it; every file is handed over at the end."""
        scene = await self._visualizer.scene(params, Stage(context, self._repositories))
        scene = windowed_scene(scene, params)
        context.report(COUNTED)
        folder = context.scratch("film/x").parent
        plan = await self._draw(scene, params, folder, context)
        await _finish(plan, params, folder, context)

    def division(self, params: SceneParams) -> Division:
        """Return whether the data asks for parts."""
        return params.parts

    async def plan(self, params: SceneParams, task: int, fleet: Fleet, context: TaskContext) -> PartsPlan | Whole:
        """Return the ranges that several workers draw, or why one draws all of them."""
        return await self._ranges(context).plan(params, task, fleet)

    async def holds(self, params: SceneParams, plan: PartsPlan, context: TaskContext) -> bool:
        """Return whether the data and the files that it names are those that were planned."""
        return await self._ranges(context).is_planned(params, plan)

    async def run_part(self, params: SceneParams, plan: PartsPlan, part: Part, context: TaskContext) -> None:
        """Draw a range of frames and prove it."""
        await self._ranges(context).draw(params, plan, part)

    async def join(self, params: SceneParams, plan: PartsPlan, parts: Mapping[int, Path], context: TaskContext) -> None:
        """Join the ranges to the film that `run` would have drawn, and go on as `run` does."""
        folder = context.scratch("film/x").parent
        await _finish(await self._ranges(context).join(params, plan, parts, folder), params, folder, context)

    def _ranges(self, context: TaskContext) -> Ranges:
        return Ranges(self._visualizer, self._repositories, self._builds, context)

    async def _draw(self, scene: Scene, params: SceneParams, folder: Path, context: TaskContext) -> Plan:
        """Return the plan of what lies in `folder` now: as many frames as were counted, or as there was time for."""
        plan = plan_of(scene)
        lasting = params.on_timeout == "keep"
        meter = Meter(scene.visible_frames)

        def on_line(line: str) -> None:
            if meter.line(line) and meter.fraction is not None:
                done = COUNTED + meter.fraction * (DRAWN - COUNTED)
                context.report(done, fps=meter.step.fps, speed=meter.step.speed)

        accepts = params.damage == "accept" or (scene.sound is not None and await ends_short(scene.sound))
        pipeline = film_pipeline(scene, plan, context.tool("ffmpeg"), folder, lasting=lasting, accept_damage=accepts)
        limit = _limit(params, context)
        try:
            exits = await context.run(pipeline, on_line, timeout=limit)
        except TimedOut:
            if not lasting:
                raise
            return await _shortened(plan, scene, limit, folder, context)
        try:
            require_success(exits, params, context)
        except (ToolFailed, InvalidJob):
            # `classify` takes a decoder's "invalid residual" for a refused option
            if scene.sound is not None and params.damage == "refuse":
                await require_undamaged(scene.sound, scene.sound.name, context)
            raise
        self._visualizer.judge(scene, exits)
        frames = meter.step.frame
        if frames is None or abs(frames - scene.visible_frames) > scene.slack:
            raise VerificationFailed(f"the film has {frames} frames, and {scene.visible_frames} were counted")
        return shortened_plan(plan, frames)


async def _finish(plan: Plan, params: SceneParams, folder: Path, context: TaskContext) -> None:
    """Prove the film in `folder`, package it, and hand over every file."""
    hls = HlsParams(
        source=params.output_file,
        segment_time=2.0,
        master_playlist_name=params.master_playlist_name,
        poster=False,
        storyboard=False,
        verify=params.verify,
    )
    await prove_mp4s(plan, hls, folder, context)
    files: list[PlannedFile] = []
    if params.output == "hls":
        await package(plan, hls, folder, context)
        files = await finish_presentation(plan, hls, folder, context)
    else:
        await _join(plan, params, folder, context)
    if params.thumbnail:
        files.insert(0, await _thumbnail(plan, folder, context))
    await asyncio.to_thread(stage_presentation, files, folder / "out", context)
    context.report(1.0)


def _main(params: SceneParams) -> tuple[str, str]:
    """Return the file that the record's `manifest_url` means: the option that names it, and its place."""
    if params.output == "mp4":
        return "output_file", params.output_file
    return "master_playlist_name", params.master_playlist_name


def _limit(params: SceneParams, context: TaskContext) -> float | None:
    """Return the seconds that drawing may take; what may be kept ends before the job's own time does."""
    if params.on_timeout == "fail":
        return params.time_limit
    left = context.seconds_left() * DRAWING_SHARE
    seconds = left if params.time_limit is None else min(params.time_limit, left)
    return seconds if math.isfinite(seconds) else None


async def _shortened(plan: Plan, scene: Scene, limit: float | None, folder: Path, context: TaskContext) -> Plan:
    """Return the plan of the film as far as it came before its time was up. TimedOut where that is nothing."""
    if plan.picture is None:
        raise TimedOut("nothing was drawn in time")
    (rendition,) = plan.picture.renditions
    film, part = folder / f"{rendition.name}.mp4", folder / "cut.mp4"
    subject = "what was drawn" if limit is None else f"what was drawn in {limit:.3g} s"
    try:
        await run_checked(context, copy_command(context.tool("ffmpeg"), film, part), subject)
        info = await context.probe(part)
    except BadInput as error:
        raise TimedOut(f"nothing of {subject} can be kept") from error
    frames = info.video.frames if info.video else None
    if not frames:
        raise TimedOut(f"nothing of {subject} can be kept")
    await asyncio.to_thread(part.replace, film)
    short = shortened_plan(plan, frames)
    if scene.sound is not None:
        sound = folder / f"{SOUND}.mp4"
        await run_checked(context, copy_command(context.tool("ffmpeg"), sound, part, float(short.duration)), subject)
        await asyncio.to_thread(part.replace, sound)
    context.warn(f"the film is cut short: {frames} of {scene.visible_frames} frames are {subject}")
    context.note("truncated", {"frames": frames, "of": scene.visible_frames})
    return short


async def _join(plan: Plan, params: SceneParams, folder: Path, context: TaskContext) -> None:
    """Make the one MP4, prove it, and say that it is the result."""
    names = [item.name for item in plan.picture.renditions] if plan.picture else []
    names += [sound.name for sound in plan.sounds]
    target = context.output(params.output_file, role="video", media_type="video/mp4", duration=float(plan.duration))
    films = tuple(folder / f"{name}.mp4" for name in names)
    await run_checked(context, join_command(context.tool("ffmpeg"), films, target), params.output_file)
    info = await context.probe(target)
    frames = plan.timing.frames if plan.timing else None
    streams = (ExpectedStream("video", "h264"), *(ExpectedStream("audio", "aac") for _ in plan.sounds))
    check(info, Expected(streams, at_least=float(plan.duration), frames=frames), params.output_file)
    if info.video is None or info.video.frames != frames:
        raise VerificationFailed(f"{params.output_file} has {info.video and info.video.frames} frames, not {frames}")
    context.set_urls(manifest=params.output_file)


async def _thumbnail(plan: Plan, folder: Path, context: TaskContext) -> PlannedFile:
    """Return the poster, which is the film's last frame."""
    if plan.picture is None:
        raise VerificationFailed("there is no picture to take the last frame of")
    (rendition,) = plan.picture.renditions
    target = folder / "out" / "poster.jpg"
    await asyncio.to_thread(target.parent.mkdir, exist_ok=True)
    film = folder / f"{rendition.name}.mp4"
    await run_checked(context, last_frame_command(context.tool("ffmpeg"), film, target), "the last frame")
    info = await context.probe(target)
    if info.video is None or (info.video.width, info.video.height) != (rendition.size.width, rendition.size.height):
        raise VerificationFailed("the last frame is no picture of the film's size")
    place = f"{context.attempt_folder}/poster.jpg"
    context.set_urls(thumbnail=place)
    return PlannedFile(place, "poster", immutable=True, local="poster.jpg")
