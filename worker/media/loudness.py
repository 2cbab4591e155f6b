"""EBU R128 in two passes: measure, then one constant gain, and a limiter where peaks would not fit.

A constant gain changes nothing but the level, so the programme keeps its dynamics (unlike ffmpeg's loudnorm in its
dynamic mode). Where a limiter must catch peaks it takes some loudness away, so what it gives is measured again and
the gain corrected, at most `ROUNDS` times.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from worker.core.command import Command, Pipeline
from worker.core.job import Model
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from pathlib import Path

SILENCE: Final = -70.0
"""LUFS: the absolute gate of ITU-R BS.1770, below which nothing is heard."""
ROUNDS: Final = 3
CLOSE_ENOUGH: Final = 0.2
MAX_GAIN: Final = 40.0

_INTEGRATED: Final = re.compile(r"^\s*I:\s+(-?(?:\d+(?:\.\d+)?|inf|nan))\s+LUFS", re.MULTILINE)
_PEAK: Final = re.compile(r"^\s*Peak:\s+(-?(?:\d+(?:\.\d+)?|inf|nan))\s+dBFS", re.MULTILINE)


class LoudnessParams(Model):
    """The target loudness of a sound."""

    target: Annotated[float, Field(ge=-50, le=-5)] = Field(
        -23.0, description="The programme's integrated loudness in LUFS (EBU R128)."
    )
    true_peak: Annotated[float, Field(ge=-9, le=0)] = Field(-1.0, description="The greatest true peak in dBTP.")


@dataclass(frozen=True, slots=True)
class Loudness:
    """A measurement: `integrated` in LUFS, `peak` the true peak in dBTP; minus infinity for silence."""

    integrated: float
    peak: float

    @property
    def is_silent(self) -> bool:
        """Return whether there is nothing to make louder."""
        return not self.integrated > SILENCE + 0.05


def measurement_filters(filters: str = "") -> str:
    """Return the filter chain that measures a sound after `filters`."""
    meter = "ebur128=peak=true:framelog=verbose"
    return f"{filters},{meter}" if filters else meter


def loudness_command(ffmpeg: str, path: Path) -> Pipeline:
    """Return the measurement of a file's first sound; the end of its standard error is for `parse_loudness`."""
    head = (ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-v", "info", *GUARDS, "-i", f"file:{path}")
    return Pipeline(
        (Command((*head, "-map", "0:a:0", "-af", measurement_filters(), "-f", "null", "-")),), label="loudness"
    )


def parse_loudness(text: str) -> Loudness | None:
    """Return the summary that the meter wrote at its end, or None where there is none."""
    integrated, peak = _INTEGRATED.findall(text), _PEAK.findall(text)
    return Loudness(_level(integrated[-1]), _level(peak[-1])) if integrated and peak else None


def _level(text: str) -> float:
    value = float(text)
    return -math.inf if math.isnan(value) else value


def gain_for(measured: Loudness, target: float) -> float:
    """Return the gain in dB that brings a sound to `target` LUFS; 0 for silence."""
    return 0.0 if measured.is_silent else max(-MAX_GAIN, min(MAX_GAIN, target - measured.integrated))


def needs_limiter(measured: Loudness, gain: float, true_peak: float) -> bool:
    """Return whether the gain would push true peaks above `true_peak` dBTP."""
    return measured.peak + gain > true_peak


def gain_filter(gain: float, true_peak: float | None, sample_rate: int) -> str:
    """Return the filter chain of a gain; with `true_peak` a limiter at four times the rate catches what exceeds it."""
    volume = f"volume={gain:.2f}dB"
    if true_peak is None:
        return volume
    # the limiter sees samples only: at four times the rate they are near the true peaks (ITU-R BS.1770 annex 2);
    # lossy codecs overshoot a little, hence the half decibel
    ceiling = math.pow(10, (true_peak - 0.5) / 20)
    return (
        f"aresample={4 * sample_rate},{volume},alimiter=limit={ceiling:.4f}:level=0:attack=2:release=60,"
        f"aresample={sample_rate}"
    )
