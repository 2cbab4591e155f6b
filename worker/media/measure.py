"""The real bit rate of a playlist's segments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Measured bits a second: `peak` over any run of segments that counts, `average` over all."""

    peak: int
    average: int


def measure(durations: list[float], sizes: list[int], target: int) -> Rate:
    """Return the rates of segments of `durations` seconds and `sizes` bytes.

    The peak is the greatest rate of any contiguous run of segments that lasts 0.5 to 1.5 target durations
    (RFC 8216 4.3.4.2); where none does, of the whole.
    """
    total = sum(durations)
    if total <= 0:
        return Rate(0, 0)
    average = 8 * sum(sizes) / total
    peak = 0.0
    for first in range(len(durations)):
        seconds, size = 0.0, 0
        for index in range(first, len(durations)):
            seconds += durations[index]
            size += sizes[index]
            if seconds > 1.5 * target:
                break
            if seconds >= 0.5 * target:
                peak = max(peak, 8 * size / seconds)
    return Rate(round(max(peak, average)), round(average))
