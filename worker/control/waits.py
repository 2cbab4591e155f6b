"""Why a queued job does not run yet, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.core.record import WorkerRecord

NAMED: Final = 3


def why_queued(lane: str, refused_by: Mapping[str, str], fleet: Sequence[WorkerRecord], before: int = 0) -> str:
    """Return why a job of `lane` waits; `before` is how many jobs the lane takes first.

    `refused_by` are the workers that cannot do it, each with what it lacks.
    """
    serving = [worker for worker in fleet if lane in worker.lanes and worker.status != "offline"]
    if not serving:
        gone = [worker.worker_id for worker in fleet if lane in worker.lanes]
        others = f"; {_names(gone)} did, and {'is' if len(gone) == 1 else 'are'} offline" if gone else ""
        return f"no living worker serves {lane}{others}"
    able = [worker for worker in serving if worker.worker_id not in refused_by]
    if not able:
        return _refusal_reason([worker.worker_id for worker in serving], lane, refused_by)
    if all(worker.status == "draining" or worker.wanted == "drain" for worker in able):
        return f"{_names([worker.worker_id for worker in able])} is shutting down, and no other worker serves {lane}"
    if free := [worker for worker in able if worker.status == "idle"]:
        return f"{free[0].worker_id} is free and takes it within seconds"
    if paused := [worker for worker in able if worker.status == "paused"]:
        busy = [worker for worker in able if worker.status == "in_progress"]
        if not busy:
            return _pause_reason(paused[0])
    if starting := [worker.worker_id for worker in able if worker.status == "startup"]:
        return f"{_names(starting)} is starting"
    ahead = f"; {before} {'job is' if before == 1 else 'jobs are'} before it" if before else ""
    return f"{_busy(able, lane)}{ahead}"


def _refusal_reason(workers: Sequence[str], lane: str, refused_by: Mapping[str, str]) -> str:
    """Return that all of these workers refuse the job, and what the first one lacks that says so."""
    lacking = next((refused_by[worker] for worker in workers if refused_by[worker]), "")
    return f"{_names(workers)} cannot do it{f': {lacking}' if lacking else ''}, and no other worker serves {lane}"


def _pause_reason(worker: WorkerRecord) -> str:
    if worker.wanted == "pause":
        return f"{worker.worker_id} is paused{f', and reports: {worker.problem}' if worker.problem else ''}"
    return f"{worker.worker_id} waits: {worker.problem}" if worker.problem else f"{worker.worker_id} is paused"


def _busy(able: Sequence[WorkerRecord], lane: str) -> str:
    busy = [worker for worker in able if worker.status == "in_progress"]
    if len(busy) == 1:
        return f"{busy[0].worker_id} is busy"
    return f"all {len(busy)} workers of {lane} are busy"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
