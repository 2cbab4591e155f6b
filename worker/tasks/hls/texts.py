"""Subtitles of the hls module: files and the streams that ffmpeg copied, read as cues."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem
from worker.media.hls.text import copied_suffix, copy_command
from worker.media.subtitles import HEAD_BYTES, is_container, parse_subtitles
from worker.media.subtitles.charset import MOST_BYTES
from worker.media.webvtt import MOST_BLOCK_CHARACTERS, TimedText
from worker.tasks.shared.running import well_run

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.hls.plan import Plan
    from worker.media.hls.text import TextRendition

MOST_CUES: Final = 100_000
"""How many cues all subtitles of one presentation may have: they are in memory until it is written."""


async def cues_of(plan: Plan, folder: Path, context: TaskContext) -> dict[str, TimedText]:
    """Return the cues of every subtitle by its name; BadInput for one that cannot be read, or for too many cues."""
    texts: dict[str, TimedText] = {}
    for text in plan.texts:
        path = await _file_of(text, folder, context)
        name = text.source or f"{text.title} (subtitle {text.stream})"
        found = await asyncio.to_thread(_parsed, path, name, text.charset)
        if not found.cues:
            context.warn(f"the subtitles {name} are empty")
        if found.has_too_long_blocks:
            context.warn(f"the styles of the subtitles {name} have more than {MOST_BLOCK_CHARACTERS} characters")
            found = replace(found, blocks=())
        texts[text.name] = found
        if sum(len(item.cues) for item in texts.values()) > MOST_CUES:
            raise BadInput(f"the subtitles have more than {MOST_CUES} cues together")
    return texts


async def _file_of(text: TextRendition, folder: Path, context: TaskContext) -> Path:
    """Return the subtitle as a text file: a source of its own, or what ffmpeg copies or copied out of a container."""
    if text.source is None:
        return folder / f"text_{text.stream}{copied_suffix(text.codec)}"
    source = await context.input(text.source)
    if not await asyncio.to_thread(_is_container, source):
        return source
    streams = (await context.probe(source)).subtitles
    if not streams or (suffix := copied_suffix(streams[0].codec)) is None:
        held = f"first subtitle is {streams[0].codec}, which is no text" if streams else "file holds no subtitles"
        raise InvalidJob([Problem("subtitles", f"{text.source}: its {held}")])
    path = folder / f"{text.name}{suffix}"
    command = copy_command(context.tool("ffmpeg"), source, streams[0].codec, path)
    await well_run(context, Pipeline((command,), label="subtitles"), text.source)
    return path


def _is_container(path: Path) -> bool:
    with path.open("rb") as file:
        return is_container(file.read(HEAD_BYTES))


def _parsed(path: Path, name: str, charset: str | None) -> TimedText:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadInput(f"the subtitles {name} are larger than {MOST_BYTES >> 20} MiB")
    return parse_subtitles(data, name, charset)
