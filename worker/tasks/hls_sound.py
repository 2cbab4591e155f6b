"""Loudness: measured for each sound that asks for it, and made a filter of its encoding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.command import Command, Pipeline
from worker.core.errors import ToolFailed
from worker.media.encode import SAMPLE_RATE, layout
from worker.media.formats import GUARDS
from worker.media.loudness import (
    CLOSE_ENOUGH,
    ROUNDS,
    Loudness,
    LoudnessParams,
    gain_filter,
    gain_for,
    measuring,
    needs_limiter,
    parse_loudness,
)
from worker.tasks.running import well_run

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext
    from worker.media.encode import AudioRendition
    from worker.media.hls_plan import Plan


async def levelled(plan: Plan, source: Path, context: TaskContext) -> Plan:
    """Return the plan with the filters that bring every sound to the loudness it asks for."""
    sounds: list[AudioRendition] = []
    for choice in plan.choices:
        sound = choice.rendition
        if choice.loudness:
            chain = f"aresample={SAMPLE_RATE},aformat=channel_layouts={layout(sound.channels)}"
            filters, measured = await level_filter(source, sound.stream, chain, choice.loudness, context)
            context.note(f"loudness.{sound.name}", {"source": measured.integrated, "filter": filters})
            if measured.is_silent:
                context.warn(f"{sound.title} is silent, so its loudness was left alone")
            sound = replace(sound, filters=filters)
        sounds.append(sound)
    return replace(plan, sounds=tuple(sounds))


async def level_filter(
    source: Path, stream: int, chain: str, wanted: LoudnessParams, context: TaskContext
) -> tuple[str, Loudness]:
    """Return the filter that brings an audio stream, after `chain`, to the wanted loudness, and what was measured.

    The filter is empty for silence. `chain` must end at `SAMPLE_RATE`.
    """
    measured = await _measured(source, stream, measuring(chain), context)
    if measured.is_silent:
        return "", measured
    gain = gain_for(measured, wanted.target)
    if not needs_limiter(measured, gain, wanted.true_peak):
        return gain_filter(gain, None, SAMPLE_RATE), measured
    for _ in range(ROUNDS):
        filters = gain_filter(gain, wanted.true_peak, SAMPLE_RATE)
        reached = await _measured(source, stream, measuring(f"{chain},{filters}"), context)
        missing = wanted.target - reached.integrated
        if abs(missing) <= CLOSE_ENOUGH:
            break
        gain += missing
    return gain_filter(gain, wanted.true_peak, SAMPLE_RATE), measured


async def _measured(source: Path, stream: int, graph: str, context: TaskContext) -> Loudness:
    argv = (
        context.tool("ffmpeg"), "-nostdin", "-hide_banner", "-v", "info", "-nostats", *GUARDS, "-i", f"file:{source}",
        "-map", f"0:a:{stream}", "-vn", "-sn", "-dn", "-af", graph, "-f", "null", "-",
    )  # fmt: skip
    exit_ = await well_run(context, Pipeline((Command(argv),), label="loudness"), source.name)
    loudness = parse_loudness(exit_.tail)
    if loudness is None:
        raise ToolFailed(f"ffmpeg measured no loudness of audio stream {stream} of {source.name}")
    return loudness
