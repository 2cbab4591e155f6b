"""Hardware over time as an SVG's lines: no script has to run to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.core.views import Sample

WIDTH: Final = 600
HEIGHT: Final = 120


@dataclass(frozen=True, slots=True)
class Chart:
    """Two lines of percentages, 0 at the bottom, and the times at their ends."""

    cpu: str
    ram: str
    begin: datetime
    end: datetime
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(samples: Sequence[Sample]) -> Chart | None:
    """Return the lines; None for less than two samples."""
    if len(samples) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    begin, end = samples[0].at, samples[-1].at
    seconds = max(1.0, (end - begin).total_seconds())

    def line(values: Sequence[float]) -> str:
        points = (
            f"{(sample.at - begin).total_seconds() / seconds * WIDTH:.1f},"
            f"{HEIGHT - max(0.0, min(100.0, value)) / 100 * HEIGHT:.1f}"
            for sample, value in zip(samples, values, strict=True)
        )
        return " ".join(points)

    return Chart(line([one.cpu_percent for one in samples]), line([one.ram_percent for one in samples]), begin, end)
