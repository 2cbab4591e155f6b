"""Subtitles of the hls module: files and the streams that ffmpeg copied, read as cues."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem
from worker.media.hls.text import copied_suffix, copy_command
from worker.media.matroska.texts import webvtt_track
from worker.media.matroska.tracks import WEBVTT
from worker.media.subtitles import HEAD_BYTES, is_container, parse_subtitles
from worker.media.subtitles.charset import MAX_BYTES
from worker.media.webvtt import MAX_BLOCK_CHARACTERS, CueError, TimedText
from worker.media.webvtt import MAX_CUES as SUBTITLE_CUES
from worker.tasks.shared.running import run_checked

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.hls.plan import Plan
    from worker.media.hls.text import TextRendition

_READ_BYTES: Final = 1 << 14
"""A small buffer: of a film only the heads of its blocks are read, and they are far apart."""
MAX_CUES: Final = 100_000
"""The most cues of all subtitles of one presentation: they are in memory until it is written."""


async def cues_of(plan: Plan, film: str, folder: Path, context: TaskContext) -> dict[str, TimedText]:
    """Return the cues of every subtitle of `film`, or of its own file, by its name.

    BadInput for one that cannot be read, or for too many cues.
    """
    texts: dict[str, TimedText] = {}
    for text in plan.texts:
        name = text.source or f"{text.title} (subtitle {text.stream})"
        found = await _cues(text, film, name, folder, context)
        if not found.cues:
            context.warn(f"the subtitles {name} are empty")
        if found.unread:
            lost = f"{found.unread} of {found.unread + len(found.cues)} cues"
            context.warn(f"{lost} of the subtitles {name} are left out: their times are none, or end before they begin")
        if found.has_too_long_blocks:
            context.warn(f"the styles of the subtitles {name} have more than {MAX_BLOCK_CHARACTERS} characters")
            found = replace(found, blocks=())
        texts[text.name] = found
        if sum(len(item.cues) for item in texts.values()) > MAX_CUES:
            raise BadInput(f"the subtitles have more than {MAX_CUES} cues together")
    return texts


async def _cues(text: TextRendition, film: str, name: str, folder: Path, context: TaskContext) -> TimedText:
    """Return the cues of a subtitle: of a stream that ffmpeg copied or that is read here, or of a file of its own."""
    if text.source is None:
        if text.codec == WEBVTT:
            return await _track(film, text.stream or 0, name, context)
        copied = folder / f"text_{text.stream}{copied_suffix(text.codec)}"
        return await asyncio.to_thread(_parse_file, copied, name, text.charset)
    source = await context.input(text.source)
    if not await asyncio.to_thread(_is_container, source):
        return await asyncio.to_thread(_parse_file, source, name, text.charset)
    info = await context.probe(source)
    streams = info.subtitles
    if streams and streams[0].codec == WEBVTT:
        return await _track(text.source, 0, name, context)
    if not streams or (suffix := copied_suffix(streams[0].codec)) is None:
        held = f"first subtitle is {streams[0].codec}, which is no text" if streams else "file holds no subtitles"
        raise InvalidJob([Problem("subtitles", f"{text.source}: its {held}")])
    path = folder / f"{text.name}{suffix}"
    command = copy_command(context.tool("ffmpeg"), source, info, path)
    await run_checked(context, Pipeline((command,), label="subtitles"), text.source)
    return await asyncio.to_thread(_parse_file, path, name, text.charset)


async def _track(location: str, stream: int, name: str, context: TaskContext) -> TimedText:
    """Return the cues of a WebVTT track of a Matroska file, on the clock that ffmpeg gives to its other streams."""
    path = await context.input(location)
    begin = max(0.0, (await context.probe(path)).begin)

    def read() -> TimedText:
        with path.open("rb", buffering=_READ_BYTES) as file:
            return webvtt_track(file, stream, begin)

    try:
        found = await asyncio.to_thread(read)
    except CueError as error:
        raise BadInput(f"the subtitles {name} cannot be read: {error}") from error
    if len(found.cues) > SUBTITLE_CUES:
        raise BadInput(f"the subtitles {name} have {len(found.cues)} cues; at most {SUBTITLE_CUES} are read")
    return found


def _is_container(path: Path) -> bool:
    with path.open("rb") as file:
        return is_container(file.read(HEAD_BYTES))


def _parse_file(path: Path, name: str, charset: str | None) -> TimedText:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadInput(f"the subtitles {name} are larger than {MAX_BYTES >> 20} MiB")
    return parse_subtitles(data, name, charset)
