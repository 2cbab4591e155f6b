"""From encoded MP4s to a finished presentation: packaged, checked, staged. Visualizers use it, too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worker.core.command import Pipeline
from worker.core.errors import BadInput, ToolFailed, VerificationFailed
from worker.media.hls.dash import MpdError
from worker.media.hls.files import as_published, files_of
from worker.media.hls.layout import Layout, common_folder, layout_of, place_of
from worker.media.hls.packager import TS_START, Input, packager_command
from worker.media.hls.playlist_check import Violation, judge
from worker.media.hls.playlists import PlaylistError
from worker.media.webvtt import CueError
from worker.tasks.hls.collect import collect_files
from worker.tasks.hls.stills import poster, storyboard, tone_filters
from worker.tasks.hls.texts import cues_of
from worker.tasks.shared.running import run_checked

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.hls.files import PlannedFile
    from worker.media.hls.params import HlsParams
    from worker.media.hls.plan import Plan


def layout_for(params: HlsParams, attempt_folder: str, own: dict[str, str | None], *others: str) -> Layout:
    """Return where the files go; `own` are the renditions and their own folders, `others` further streams."""
    folders = {name: place for name, place in own.items() if place}
    base = params.output_base or params.destination or (common_folder(list(folders.values())) if folders else "")
    return layout_of(base, attempt_folder, params.master_playlist_name, [*own, *others], folders)


async def package(plan: Plan, params: HlsParams, folder: Path, context: TaskContext) -> None:
    """Package the MP4s of `plan` in `folder` into `folder`/out."""
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
    await run_checked(context, Pipeline((command,), label="package"), params.source)


async def finish_presentation(plan: Plan, params: HlsParams, folder: Path, context: TaskContext) -> list[PlannedFile]:
    """Return all files of the presentation once they pass the check; VerificationFailed with its violations."""
    out = folder / "out"
    texts = await cues_of(plan, params.source, folder, context)
    tones = await tone_filters(plan, context) if params.storyboard or params.poster else ()
    board = await storyboard(plan, folder, tones, context) if params.storyboard else None
    try:
        tick = TS_START if params.segment_format == "ts" else 0
        packaged = await asyncio.to_thread(collect_files, plan, out, texts, tick)
        presentation = replace(packaged.presentation, storyboard=board)
        renditions = plan.picture.renditions if plan.picture else ()
        own = {rendition.name: plan.own_folders.get(rendition.name) for rendition in renditions}
        others = [sound.name for sound in plan.sounds] + [text.name for text in plan.texts]
        layout = layout_for(params, context.attempt_folder, own, *others)
        files = await asyncio.to_thread(files_of, presentation, layout, texts, packaged.parts, packaged.mpd)
    except (PlaylistError, MpdError) as error:
        raise ToolFailed(f"packager made what cannot be read: {error}") from error
    except CueError as error:
        raise BadInput(f"{params.source}: {error}") from error
    violations = await asyncio.to_thread(_violations, plan, layout, files, out)
    for advice in [item for item in violations if not item.must]:
        context.warn(str(advice))
    if broken := [str(item) for item in violations if item.must]:
        raise VerificationFailed("; ".join(broken[:10]))
    still = await poster(plan, layout, folder, tones, context) if params.poster else None
    context.set_urls(manifest=layout.multivariant, thumbnail=still.location if still else None)
    return [*([still] if still else []), *files]


def _violations(plan: Plan, layout: Layout, files: list[PlannedFile], out: Path) -> tuple[Violation, ...]:
    gop = float(plan.timing.gop_seconds) if plan.timing else None
    published = as_published(files, _sizes(files, out))
    return judge(published, place_of(layout.multivariant)[1], float(plan.duration), gop)


def _sizes(files: list[PlannedFile], out: Path) -> dict[str, int]:
    return {
        file.local: (out / file.local).stat().st_size for file in files if file.local and (out / file.local).exists()
    }


def stage_presentation(files: list[PlannedFile], out: Path, context: TaskContext) -> None:
    """Stage every file, in the order of publishing."""
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
