"""One honest percentage for a whole job, out of what its tasks report one after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from worker.core.attempt import Progress
from worker.core.record import FIRST_SURE_SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG_SECONDS: Final = 60.0
"""The time after which half of `FIRST_SURE_SHARE` says how long a job takes: what comes before the work is over."""


class ProgressMeter:
    """Weighs the tasks' fractions; the percentage never falls and stays below 100 until the record is written."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = tuple(weights)
        self._index = 0
        self._started = time.monotonic()
        self._best = 0.0
        self.now = Progress(percent=0.0)

    def begin(self, index: int, task: str) -> None:
        """Note that task `index` begins: all before it are done."""
        self._index = index
        self._update(0.0, task, None, None)

    def report(self, fraction: float | None, fps: float | None, speed: float | None) -> None:
        """Note how much of the present task is done, 0 to 1."""
        self._update(fraction, self.now.task, fps, speed)

    def _update(self, fraction: float | None, task: str | None, fps: float | None, speed: float | None) -> None:
        if fraction is None:
            self.now = Progress(None, task, fps, speed, None)
            return
        total = sum(self._weights) or 1.0
        done = sum(self._weights[: self._index]) + self._weights[self._index] * min(max(fraction, 0.0), 1.0)
        self._best = max(self._best, min(done / total, 0.999))
        elapsed = time.monotonic() - self._started
        sure = self._best >= (FIRST_SURE_SHARE / 2 if elapsed >= LONG_SECONDS else FIRST_SURE_SHARE)
        eta = elapsed * (1 - self._best) / self._best if sure else None
        self.now = Progress(round(self._best * 100, 1), task, fps, speed, round(eta, 1) if eta is not None else None)
