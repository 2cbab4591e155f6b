"""The `hls` module: one decode, a ladder of renditions, HLS and DASH of the same segments, checked at last."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from worker.core.command import Pipeline
from worker.core.errors import CannotServe, InvalidJob, LeveretError, PlanBroken, ToolFailed
from worker.core.parts import FRAMES, Whole
from worker.core.task import Files, FileUse, Task
from worker.media.capabilities import format_of
from worker.media.ffmpeg.encoders import SOFTWARE, encoder_named
from worker.media.ffmpeg.progress import Meter
from worker.media.hls.encode import encode_command
from worker.media.hls.params import HlsParams
from worker.media.hls.plan import Plan, is_hdr, plan_of
from worker.media.selection import FIRST_PICTURE, picture_specifier
from worker.tasks.hls.finish import finish_presentation, layout_for, package, stage_presentation
from worker.tasks.hls.parts import Film, is_planned, join_parts, make_part, plan_parts
from worker.tasks.hls.proof import prove_host, prove_mp4s
from worker.tasks.hls.sound import level_sounds
from worker.tasks.shared.decoding import require_undamaged
from worker.tasks.shared.empty import with_empty_sounds
from worker.tasks.shared.measuring import ends_short, probe_source
from worker.tasks.shared.parts import Builds, sources_of
from worker.tasks.shared.running import run_checked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.parts import Division, Fleet, Part
    from worker.core.parts import Plan as PartsPlan
    from worker.core.task import Lookup, TaskContext

ENCODED = 0.9
PACKAGED = 0.95


class HlsTask(Task[HlsParams]):
    """Makes adaptive streaming of a source."""

    module: ClassVar[str] = "hls"
    params: ClassVar[type[HlsParams]] = HlsParams
    weight: ClassVar[float] = 10.0

    def __init__(self) -> None:
        self._builds = Builds()

    def files(self, params: HlsParams) -> Files:
        """Return the source and subtitle files, and the files of fixed names: manifests and outputs' playlists."""
        texts = [(index, text.source) for index, text in enumerate(params.subtitles or []) if text.source]
        names = [f"renditions[{index}]" for index in range(len(params.renditions))]
        places = [rendition.dest_path for rendition in params.renditions]
        layout = layout_for(params, "e0", dict(zip(names, places, strict=True)))
        manifests = [layout.multivariant, *([layout.mpd] if params.segment_format == "fmp4" else [])]
        fixed = [("master_playlist_name", place) for place in manifests]
        fixed += [(f"{name}.dest_path", layout.playlists[name]) for name in names if name in layout.fixed]
        return Files(
            reads=(
                FileUse("source", params.source),
                *(FileUse(f"subtitles[{index}].source", place) for index, place in texts),
            ),
            writes=tuple(FileUse(path, place, params.overwrite) for path, place in fixed),
        )

    def requires(self, params: HlsParams) -> frozenset[str]:
        """Return the tools, the formats, and the encoders for which nothing else may stand in."""
        codecs = {rendition.codec for rendition in params.renditions} or {"libx264"}
        if params.hw_fallback:
            codecs = {codec for codec in codecs if format_of(codec) or encoder_named(codec).family is None}
        needed = {f"encoder:{format_of(codec) or encoder_named(codec).name}" for codec in codecs}
        stills = {"encoder:mjpeg"} if params.poster or params.storyboard else set()
        return frozenset({"tool:ffmpeg", "tool:ffprobe", "tool:packager", *needed, *stills})

    async def prepare(self, params: HlsParams, lookup: Lookup) -> HlsParams:
        """Return `params` with the best encoder of this host for each format; ToolMissing where a tool is missing.

        Whoever names a format leaves the choice to us: should the hardware that we chose fail, software takes over.
        """
        for name in ("ffmpeg", "ffprobe", "packager"):
            lookup.tool(name)
        asked = any(encoder_named(item.codec).family for item in params.renditions)
        renditions = [item.model_copy(update={"codec": _best(item.codec, lookup)}) for item in params.renditions]
        return params.model_copy(update={"renditions": renditions, "hw_fallback": params.hw_fallback or not asked})

    async def run(self, params: HlsParams, context: TaskContext) -> None:
        """Encode, package, check and stage every file; nothing is staged unless the check passes."""
        film = await self._read(params, context)
        _warn(film.plan, context)
        folder = await asyncio.to_thread(_own_folder, context)
        plan, levels = await level_sounds(film.plan, film.path, context)
        levels.note(context)
        plan = await _encode(plan, params, film.path, folder, context)
        await _finish(plan, params, folder, context)

    def division(self, params: HlsParams) -> Division:
        """Return whether the data asks for parts."""
        return params.parts

    async def plan(self, params: HlsParams, task: int, fleet: Fleet, context: TaskContext) -> PartsPlan | Whole:
        """Return the parts of the presentation, or why it is not divided."""
        film = await self._read(params, context)
        if params.damage == "accept":
            return Whole("damage of its source is accepted")
        if picture_specifier(film.info) != FIRST_PICTURE:
            return Whole("a cover is before its picture")
        return await plan_parts(params, film, task, fleet, await self._builds.of(context), context)

    async def holds(self, params: HlsParams, plan: PartsPlan, context: TaskContext) -> bool:
        """Return whether the source and the renditions are those that were planned."""
        return await is_planned(params, await self._planned_film(params, plan, context), plan, context)

    async def run_part(self, params: HlsParams, plan: PartsPlan, part: Part, context: TaskContext) -> None:
        """Encode all renditions of a range of frames, or all sounds and texts; prove it."""
        build = await self._builds.of(context)
        if build != plan.build:
            raise CannotServe(f"this worker has {build}, and the parts are made by {plan.build}")
        is_range = part.name == FRAMES
        film = await (self._planned_film(params, plan, context) if is_range else self._read(params, context))
        if not await is_planned(params, film, plan, context):
            raise PlanBroken("the source is not the one that was planned")
        await make_part(params, film, plan, part, context)

    async def join(self, params: HlsParams, plan: PartsPlan, parts: Mapping[int, Path], context: TaskContext) -> None:
        """Join the parts to the MP4s that `run` would have encoded, and go on as `run` does."""
        film = await self._read(params, context)
        _warn(film.plan, context)
        folder = await asyncio.to_thread(_own_folder, context)
        await join_parts(film, plan, parts, folder, context)
        await _finish(film.plan, params, folder, context)

    async def _planned_film(self, params: HlsParams, plan: PartsPlan, context: TaskContext) -> Film:
        """Return what is made of the source as the plan knows it; it is read only where this host must be tried."""
        known = sources_of(plan)
        if known is None or is_hdr(known[0]):
            return await self._read(params, context)
        (info,) = known
        return Film(Path(), info, plan_of(params, info, await prove_host(params, Path(), info, context)))

    async def _read(self, params: HlsParams, context: TaskContext) -> Film:
        """Return the source, and what is made of it here."""
        path = await context.input(params.source)
        info = await with_empty_sounds(path, await probe_source(path, params.source, context, to_its_end=True), context)
        return Film(path, info, plan_of(params, info, await prove_host(params, path, info, context)))


def _warn(plan: Plan, context: TaskContext) -> None:
    for warning in plan.warnings:
        context.warn(warning)


async def _finish(plan: Plan, params: HlsParams, folder: Path, context: TaskContext) -> None:
    """Prove the MP4s of `folder`, package them, and stage every file once the check passes."""
    await prove_mp4s(plan, params, folder, context)
    await package(plan, params, folder, context)
    context.report(PACKAGED)
    files = await finish_presentation(plan, params, folder, context)
    await asyncio.to_thread(stage_presentation, files, folder / "out", context)
    context.note("hls", _facts(plan))
    context.report(1.0)


def _best(codec: str, lookup: Lookup) -> str:
    """Return the best encoder of this host whose options the plan knows, for a format; an encoder is itself."""
    if format_of(codec) is None:
        return codec
    known = (*SOFTWARE.values(), f"{format_of(codec)}_nvenc", f"{format_of(codec)}_qsv")
    return next((name for name in lookup.encoders(codec) if name in known), codec)


def _own_folder(context: TaskContext) -> Path:
    """Return a new folder: files of another run with the same context stay until they are published."""
    folder = next(path for number in count() if not (path := context.scratch(f"hls-{number}")).exists())
    folder.mkdir(parents=True)
    return folder


async def _encode(plan: Plan, params: HlsParams, source: Path, folder: Path, context: TaskContext) -> Plan:
    """Return the plan that was encoded: in software where hardware failed and may be replaced."""
    try:
        await _encode_once(plan, params, source, folder, context)
    except LeveretError as error:
        if not (plan.hardware and params.hw_fallback and isinstance(error, ToolFailed)):
            raise
        context.warn(f"{', '.join(sorted(plan.hardware))} failed, so software did it: {error}")
        plan = plan.in_software()
        await _encode_once(plan, params, source, folder, context)
    return plan


async def _encode_once(plan: Plan, params: HlsParams, source: Path, folder: Path, context: TaskContext) -> None:
    encoding = plan.encoding(source)
    encoding = replace(encoding, accept_damage=encoding.accept_damage or await ends_short(source))
    command = encode_command(encoding, context.tool("ffmpeg"), folder)
    frames = plan.timing.frames if plan.timing else None
    on_line = _reporter(context, frames, float(plan.duration))
    pipeline = Pipeline((command,), label="encode")
    try:
        await run_checked(context, pipeline, params.source, on_line, reads_source=True, damage=params.damage)
    except (ToolFailed, InvalidJob):
        # `classify` takes a decoder's "invalid residual" for a refused option
        if params.damage == "refuse":
            await require_undamaged(source, params.source, context)
        raise


def _reporter(context: TaskContext, frames: int | None, seconds: float) -> Callable[[str], None]:
    meter = Meter(frames, seconds)

    def on_line(line: str) -> None:
        if meter.line(line) and meter.fraction is not None:
            context.report(meter.fraction * ENCODED, fps=meter.step.fps, speed=meter.step.speed)

    return on_line


def _facts(plan: Plan) -> dict[str, object]:
    renditions = plan.picture.renditions if plan.picture else ()
    return {
        "duration": float(plan.duration),
        "renditions": [{"name": r.name, "size": str(r.size), "encoder": r.encoder} for r in renditions],
        "audio": [{"name": s.name, "language": s.language, "channels": s.channels} for s in plan.sounds],
        "subtitles": [{"name": t.name, "language": t.language} for t in plan.texts],
    }
