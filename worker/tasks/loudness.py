"""Loudness: a sound measured, and the filter that brings it to the level it is to have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.command import Command, Pipeline
from worker.core.errors import ToolFailed
from worker.media.ffmpeg.formats import GUARDS
from worker.media.loudness import (
    CLOSE_ENOUGH,
    ROUNDS,
    Loudness,
    LoudnessParams,
    gain_filter,
    gain_for,
    measurement_filters,
    needs_limiter,
    parse_loudness,
)
from worker.tasks.shared.running import run_checked

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext


@dataclass(frozen=True, slots=True)
class Sound:
    """One stream of a local file: `specifier` as -map takes it (`0:a:1`), read after the input options `before`."""

    source: Path
    specifier: str
    before: tuple[str, ...] = ()


async def level_filter(
    sound: Sound, chain: str, sample_rate: int, wanted: LoudnessParams, context: TaskContext
) -> tuple[str, Loudness]:
    """Return the filter that brings a sound, after the filters `chain`, to the wanted loudness, and what was measured.

    The filter is empty for silence. `chain` must end at `sample_rate`, in Hz.
    """
    measured = await measured_loudness(sound, chain, context)
    if measured.is_silent:
        return "", measured
    gain = gain_for(measured, wanted.target)
    if not needs_limiter(measured, gain, wanted.true_peak):
        return gain_filter(gain, None, sample_rate), measured
    for _ in range(ROUNDS):
        filters = gain_filter(gain, wanted.true_peak, sample_rate)
        reached = await measured_loudness(sound, f"{chain},{filters}", context)
        missing = wanted.target - reached.integrated
        if abs(missing) <= CLOSE_ENOUGH:
            break
        gain += missing
    return gain_filter(gain, wanted.true_peak, sample_rate), measured


async def measured_loudness(sound: Sound, chain: str, context: TaskContext) -> Loudness:
    """Return how loud a sound is after the filters `chain`, "" for none."""
    argv = (
        context.tool("ffmpeg"), "-nostdin", "-hide_banner", "-v", "info", "-nostats", *GUARDS, *sound.before,
        "-i", f"file:{sound.source}", "-map", sound.specifier, "-vn", "-sn", "-dn", "-af", measurement_filters(chain),
        "-f", "null", "-",
    )  # fmt: skip
    exit_ = await run_checked(context, Pipeline((Command(argv),), label="loudness"), sound.source.name)
    loudness = parse_loudness(exit_.tail)
    if loudness is None:
        raise ToolFailed(f"ffmpeg measured no loudness of stream {sound.specifier} of {sound.source.name}")
    return loudness
