"""Why a job waits, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.control.waits import why_queued
from worker.core.figures import span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.record import WorkerRecord
    from worker.core.views import WaitingJob


def why_it_waits(waiting: WaitingJob, fleet: Sequence[WorkerRecord], before: int = 0) -> str:
    """Return why a queued or retrying job does not run yet; `before` is how many jobs its lane takes first."""
    if waiting.due_seconds:
        return f"retry due in {span(waiting.due_seconds)}"
    return why_queued(waiting.job.lane, waiting.refused_by, fleet, before)
