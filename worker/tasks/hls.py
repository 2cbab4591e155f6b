"""The `hls` module: one decode, a ladder of renditions, HLS and DASH from the same segments, judged before they go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from worker.core.command import Pipeline
from worker.core.errors import LeveretError, ToolFailed, VerificationFailed
from worker.core.task import Files, FileUse, Task
from worker.media.capabilities import format_of
from worker.media.dash import MpdError
from worker.media.encode import encode_command
from worker.media.encoders import SOFTWARE, encoder_named
from worker.media.hls_params import HlsParams
from worker.media.hls_plan import Plan, plan_of
from worker.media.layout import Layout, common_folder, layout_of, place_of
from worker.media.packager import TS_START, Input, packager_command
from worker.media.playlist_check import judge
from worker.media.playlists import PlaylistError
from worker.media.presentation_files import as_published, files_of
from worker.media.progress import Meter
from worker.tasks.hls_collect import collected
from worker.tasks.hls_proof import proved_host, proved_mp4s, with_length
from worker.tasks.hls_sound import levelled
from worker.tasks.hls_stills import poster, storyboard
from worker.tasks.hls_texts import cues_of
from worker.tasks.running import well_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.core.task import Lookup, TaskContext
    from worker.media.presentation_files import PlannedFile

ENCODED = 0.9
PACKAGED = 0.95


class HlsTask(Task[HlsParams]):
    """Makes adaptive streaming of a source."""

    module: ClassVar[str] = "hls"
    params: ClassVar[type[HlsParams]] = HlsParams
    weight: ClassVar[float] = 10.0

    def files(self, params: HlsParams) -> Files:
        """Return the source and subtitle files, and the files of fixed names: manifests and outputs' playlists."""
        texts = [(index, text.source) for index, text in enumerate(params.subtitles or []) if text.source]
        names = [f"renditions[{index}]" for index in range(len(params.renditions))]
        places = [rendition.dest_path for rendition in params.renditions]
        layout = _layout(params, "e0", dict(zip(names, places, strict=True)))
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
        return frozenset({"tool:ffmpeg", "tool:ffprobe", "tool:packager", *needed})

    async def prepare(self, params: HlsParams, lookup: Lookup) -> HlsParams:
        """Return `params` with the best encoder of this host for each format; ToolMissing where a tool is missing.

        Whoever names a format leaves the choice to us: should the hardware that we chose fail, software takes over.
        """
        for name in ("ffmpeg", "ffprobe", "packager"):
            lookup.tool(name)
        asked = any(encoder_named(wish.codec).family for wish in params.renditions)
        renditions = [wish.model_copy(update={"codec": _best(wish.codec, lookup)}) for wish in params.renditions]
        return params.model_copy(update={"renditions": renditions, "hw_fallback": params.hw_fallback or not asked})

    async def run(self, params: HlsParams, context: TaskContext) -> None:
        """Encode, package, judge, and hand over every file; nothing is handed over unless the judge is content."""
        source = await context.input(params.source)
        info = await with_length(await context.probe(source), source, context)
        plan = plan_of(params, info, await proved_host(params, info, context))
        for warning in plan.warnings:
            context.warn(warning)
        folder = await asyncio.to_thread(_own_folder, context)
        plan = await levelled(plan, source, context)
        plan = await _encode(plan, params, source, folder, context)
        await proved_mp4s(plan, params, folder, context)
        await _package(plan, params, folder, context)
        context.report(PACKAGED)
        files = await _finished(plan, params, folder, context)
        await asyncio.to_thread(_hand_over, files, folder / "out", context)
        context.note("hls", _facts(plan))
        context.report(1.0)


def _best(codec: str, lookup: Lookup) -> str:
    """Return the best encoder of this host whose options the plan knows, for a format; an encoder is itself."""
    if format_of(codec) is None:
        return codec
    known = (*SOFTWARE.values(), f"{format_of(codec)}_nvenc", f"{format_of(codec)}_qsv")
    return next((name for name in lookup.encoders(codec) if name in known), codec)


def _own_folder(context: TaskContext) -> Path:
    """Return a new folder: another hls task of this job keeps its files until they are published."""
    folder = next(path for number in count() if not (path := context.scratch(f"hls-{number}")).exists())
    folder.mkdir(parents=True)
    return folder


def _layout(params: HlsParams, attempt_folder: str, own: dict[str, str | None], *others: str) -> Layout:
    folders = {name: place for name, place in own.items() if place}
    base = params.output_base or params.destination or (common_folder(list(folders.values())) if folders else "")
    return layout_of(base, attempt_folder, params.master_playlist_name, [*own, *others], folders)


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
    command = encode_command(plan.encoding(source), context.tool("ffmpeg"), folder)
    frames = plan.timing.frames if plan.timing else None
    on_line = _reporter(context, frames, float(plan.duration))
    await well_run(context, Pipeline((command,), label="encode"), params.source, on_line, reads_source=True)


def _reporter(context: TaskContext, frames: int | None, seconds: float) -> Callable[[str], None]:
    meter = Meter(frames, seconds)

    def on_line(line: str) -> None:
        if meter.line(line) and meter.fraction is not None:
            context.report(meter.fraction * ENCODED, fps=meter.step.fps, speed=meter.step.speed)

    return on_line


async def _package(plan: Plan, params: HlsParams, folder: Path, context: TaskContext) -> None:
    pictures = plan.picture.renditions if plan.picture else ()
    inputs = (
        *(Input(rendition.name) for rendition in pictures),
        *(Input(sound.name, sound.language, sound.group, sound.title) for sound in plan.sounds),
    )
    command = packager_command(
        context.tool("packager"),
        folder,
        inputs,
        plan.segment_seconds,
        plan.fragment_seconds,
        transport_stream=params.segment_format == "ts",
    )
    await well_run(context, Pipeline((command,), label="package"), params.source)


async def _finished(plan: Plan, params: HlsParams, folder: Path, context: TaskContext) -> list[PlannedFile]:
    """Return all files of the presentation, which the judge has found well. VerificationFailed with its words."""
    out = folder / "out"
    cues = await cues_of(plan, folder, context)
    board = await storyboard(plan, folder, context) if params.storyboard else None
    try:
        tick = TS_START if params.segment_format == "ts" else 0
        packaged = await asyncio.to_thread(collected, plan, out, cues, tick)
        presentation = replace(packaged.presentation, storyboard=board)
        renditions = plan.picture.renditions if plan.picture else ()
        own = {rendition.name: plan.own_folders.get(rendition.name) for rendition in renditions}
        others = [sound.name for sound in plan.sounds] + [text.name for text in plan.texts]
        layout = _layout(params, context.attempt_folder, own, *others)
        files = files_of(presentation, layout, cues, tick, packaged.mpd)
    except (PlaylistError, MpdError) as error:
        raise ToolFailed(f"packager made what cannot be read: {error}") from error
    sizes = await asyncio.to_thread(_sizes, files, out)
    gop = float(plan.timing.gop_seconds) if plan.timing else None
    violations = judge(as_published(files, sizes), place_of(layout.multivariant)[1], float(plan.duration), gop)
    for advice in [item for item in violations if not item.must]:
        context.warn(str(advice))
    if broken := [str(item) for item in violations if item.must]:
        raise VerificationFailed("; ".join(broken[:10]))
    still = await poster(plan, layout, folder, context) if params.poster else None
    context.set_urls(manifest=layout.multivariant, thumbnail=still.location if still else None)
    return [*([still] if still else []), *files]


def _sizes(files: list[PlannedFile], out: Path) -> dict[str, int]:
    return {
        file.local: (out / file.local).stat().st_size for file in files if file.local and (out / file.local).exists()
    }


def _hand_over(files: list[PlannedFile], out: Path, context: TaskContext) -> None:
    """Put every file where the context wants it, in the order of publishing."""
    texts = out.with_name("texts")
    texts.mkdir()
    for index, file in enumerate(files):
        path = texts / f"{index}{PurePosixPath(file.location).suffix}" if file.local is None else out / file.local
        if file.text is not None:
            path.write_text(file.text, encoding="utf-8", newline="\n")
        context.adopt(
            path,
            file.location,
            role=file.role,
            media_type=file.media_type,
            immutable=file.immutable,
            duration=file.duration,
        )


def _facts(plan: Plan) -> dict[str, object]:
    renditions = plan.picture.renditions if plan.picture else ()
    return {
        "duration": float(plan.duration),
        "renditions": [{"name": r.name, "size": str(r.size), "encoder": r.encoder} for r in renditions],
        "audio": [{"name": s.name, "language": s.language, "channels": s.channels} for s in plan.sounds],
        "subtitles": [{"name": t.name, "language": t.language} for t in plan.texts],
    }
