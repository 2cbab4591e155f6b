"""Why a job waits, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.web.figures import span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.record import WorkerRecord
    from worker.core.views import WaitingJob

NAMED: Final = 3


def why_it_waits(waiting: WaitingJob, fleet: Sequence[WorkerRecord], before: int = 0) -> str:
    """Return why a queued or retrying job does not run yet; `before` is how many jobs its lane takes first."""
    job = waiting.job
    if waiting.due_seconds:
        return f"retry due in {span(waiting.due_seconds)}"
    serving = [worker for worker in fleet if job.lane in worker.lanes and worker.status != "offline"]
    if not serving:
        gone = [worker.worker_id for worker in fleet if job.lane in worker.lanes]
        others = f"; {_names(gone)} did, and {'is' if len(gone) == 1 else 'are'} offline" if gone else ""
        return f"no living worker serves {job.lane}{others}"
    able = [worker for worker in serving if worker.worker_id not in waiting.refused_by]
    if not able:
        return f"{_names([worker.worker_id for worker in serving])} cannot do it, and nobody else serves {job.lane}"
    if all(worker.status == "draining" or worker.wanted == "drain" for worker in able):
        return f"{_names([worker.worker_id for worker in able])} is on its way out, and nobody else serves {job.lane}"
    if free := [worker for worker in able if worker.status == "idle"]:
        return f"{free[0].worker_id} is free and takes it within seconds"
    if paused := [worker for worker in able if worker.status == "paused"]:
        busy = [worker for worker in able if worker.status == "in_progress"]
        if not busy:
            return _paused(paused[0])
    if any(worker.status == "startup" for worker in able):
        return f"{_names([one.worker_id for one in able if one.status == 'startup'])} is starting"
    ahead = f"; {before} {'job is' if before == 1 else 'jobs are'} before it" if before else ""
    return f"{_busy(able, job.lane)}{ahead}"


def _paused(worker: WorkerRecord) -> str:
    if worker.wanted == "pause":
        return f"{worker.worker_id} is paused"
    return f"{worker.worker_id} waits: {worker.problem}" if worker.problem else f"{worker.worker_id} is paused"


def _busy(able: Sequence[WorkerRecord], lane: str) -> str:
    busy = [worker for worker in able if worker.status == "in_progress"]
    if len(busy) == 1:
        return f"{busy[0].worker_id} is busy"
    return f"all {len(busy)} workers of {lane} are busy"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
