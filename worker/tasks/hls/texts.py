"""Subtitles of the hls module: text made WebVTT by ffmpeg, and read as cues."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.core.command import Pipeline
from worker.core.errors import BadInput
from worker.media.hls.text import text_command
from worker.media.webvtt import Cue, CueError, parse_cues
from worker.tasks.shared.running import well_run

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.hls.plan import Plan


async def cues_of(plan: Plan, folder: Path, context: TaskContext) -> dict[str, tuple[Cue, ...]]:
    """Return the cues of every subtitle by its name; BadInput for a file that is none, or is not UTF-8."""
    cues: dict[str, tuple[Cue, ...]] = {}
    for text in plan.texts:
        if text.source is None:
            path = folder / f"text_{text.stream}.vtt"
        else:
            path = folder / f"{text.name}.vtt"
            source = await context.input(text.source)
            command = text_command(context.tool("ffmpeg"), source, path)
            await well_run(context, Pipeline((command,), label="subtitles"), text.source)
        name = text.source or text.title
        try:
            cues[text.name] = parse_cues(await asyncio.to_thread(path.read_text, encoding="utf-8"))
        except (CueError, UnicodeDecodeError) as error:
            raise BadInput(f"the subtitles {name} cannot be read: {error}") from error
        if not cues[text.name]:
            context.warn(f"the subtitles {name} are empty")
    return cues
