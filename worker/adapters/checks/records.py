"""The checks of what the database says: of workers, lanes, watched folders, notifications and kept originals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.core.finding import Finding
from worker.core.record import serving
from worker.core.routing import LANES

if TYPE_CHECKING:
    from worker.core.ports import Repository

SILENT_SECONDS: Final = 1800.0
"""The seconds that no look at a folder takes; a folder that is not looked at for longer has no server."""
_GIB: Final = 1 << 30


async def workers(repository: Repository, offline_after: float) -> Finding:
    """Return what living workers report of themselves: why they take no jobs, or that two have one name."""
    try:
        found = await repository.workers(offline_after)
    finally:
        await repository.close()
    living = [one for one in found if one.status != "offline"]
    if said := "; ".join(f"{one.worker_id} on {one.hostname}: {one.problem}" for one in living if one.problem):
        return Finding(
            status="warning",
            fact=said,
            advice="correct it on that host; `leveret workers` shows when the problem is gone",
        )
    count = "1 worker runs" if len(living) == 1 else f"{len(living)} workers run"
    return Finding(status="ok", fact=f"{count}, and none reports a problem")


async def lanes(repository: Repository, offline_after: float) -> Finding:
    """Return which lanes living workers serve; jobs that wait in one without any are a warning."""
    try:
        served = serving(await repository.workers(offline_after))
        waiting = await repository.waiting_by_lane()
    finally:
        await repository.close()
    fact = ", ".join(f"{lane}: {len(served.get(lane, ()))}" for lane in LANES)
    stuck = sorted({lane for lane in waiting if lane not in served})
    if stuck:
        counts = ", ".join(f"{waiting[lane]} in {lane}" for lane in stuck)
        advice = f"start a worker that serves {','.join(stuck)} with `leveret run`, or cancel the jobs"
        alone = f"workers by lane: {fact}" if served else "no worker is running"
        return Finding(status="warning", fact=f"{alone}; jobs wait in lanes without a worker: {counts}", advice=advice)
    if not served:
        return Finding(status="warning", fact="no worker is running", advice="start one with `leveret run`")
    return Finding(status="ok", fact=f"workers by lane: {fact}")


async def folders(repository: Repository) -> Finding:
    """Return whether each watched folder is looked at, and can be."""
    try:
        found = await repository.folders()
        now = datetime.now(UTC) + timedelta(seconds=(await repository.facts()).ahead_seconds)
    finally:
        await repository.close()
    active = [one for one in found if not one.paused]
    if problems := [f"{one.name}: {one.problem}" for one in active if one.problem]:
        advice = "`leveret folders list` shows them; no file is taken until then, and none is lost"
        return Finding(status="warning", fact="; ".join(problems)[:500], advice=advice)
    silent = [
        one.name for one in active if one.scanned_at is None or (now - one.scanned_at).total_seconds() > SILENT_SECONDS
    ]
    if silent:
        advice = "run `leveret serve`, which scans watched folders"
        return Finding(status="warning", fact=f"no server scans {', '.join(silent)}"[:500], advice=advice)
    return Finding(status="ok", fact=f"{len(active)} watched, {len(found) - len(active)} paused")


async def notifications(repository: Repository) -> Finding:
    """Return whether notifications arrive."""
    try:
        found = await repository.notifications()
    finally:
        await repository.close()
    if problems := [f"{one.name}: {one.problem}" for one in found if one.problem]:
        advice = "`leveret notifications test NAME` sends a sample; unsent ones are tried again for a day"
        return Finding(status="warning", fact="; ".join(problems)[:500], advice=advice)
    return Finding(
        status="ok", fact=f"{len(found)} stored, {sum(one.waiting for one in found)} ends of jobs not sent yet"
    )


async def originals(repository: Repository, most_bytes: int) -> Finding:
    """Return how much is kept for `undo`, and what stays because its successor could not be read."""
    try:
        kept = await repository.kept_bytes()
        stuck = [one for one in await repository.originals() if one.problem]
    finally:
        await repository.close()
    fact = f"{kept / _GIB:.1f} GiB of originals kept for `undo`, at most {most_bytes / _GIB:.0f} GiB"
    if stuck:
        first = stuck[0]
        advice = (
            f"look at {first.uri}; `leveret undo {first.job_id}` puts the original back, `--forget` frees its space"
        )
        return Finding(
            status="warning", fact=f"{fact}; {len(stuck)} cannot be deleted yet: {first.problem}"[:500], advice=advice
        )
    return Finding(status="ok", fact=fact)
