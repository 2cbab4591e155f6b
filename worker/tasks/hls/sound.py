"""Loudness: measured for each sound that asks for it, and made a filter of its encoding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.media.ffmpeg.mixing import NORMALIZED, layout
from worker.media.hls.encode import SAMPLE_RATE
from worker.tasks.loudness import Sound, level_filter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.hls.encode import AudioRendition
    from worker.media.hls.plan import Plan


@dataclass(frozen=True, slots=True)
class Levels:
    """The measurements of the sounds: facts for the job's record, and warnings."""

    facts: Mapping[str, object]
    warnings: Sequence[str]

    def note(self, context: TaskContext) -> None:
        """Note the measurements and warnings in the job's record."""
        for key, value in self.facts.items():
            context.note(key, value)
        for warning in self.warnings:
            context.warn(warning)


async def level_sounds(plan: Plan, source: Path, context: TaskContext) -> tuple[Plan, Levels]:
    """Return the plan with the filters that bring every sound to the loudness it asks for, and what was measured."""
    sounds: list[AudioRendition] = []
    facts: dict[str, object] = {}
    warnings: list[str] = []
    for choice in plan.choices:
        sound = choice.rendition
        if choice.loudness:
            chain = f"aresample={SAMPLE_RATE}:{NORMALIZED},aformat=channel_layouts={layout(sound.channels)}"
            filters, measured = await level_filter(
                Sound(source, f"0:a:{sound.stream}"), chain, SAMPLE_RATE, choice.loudness, context
            )
            facts[f"loudness.{sound.name}"] = {"source": measured.integrated, "filter": filters}
            if measured.is_silent:
                warnings.append(f"{sound.title} is silent, so its loudness was left alone")
            sound = replace(sound, filters=filters)
        sounds.append(sound)
    return replace(plan, sounds=tuple(sounds)), Levels(facts, warnings)
