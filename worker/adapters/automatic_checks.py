"""The looks that `doctor` takes at what works by itself: folders, notifications, kept originals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.core.finding import Finding

if TYPE_CHECKING:
    from worker.core.ports import Repository

SILENT_SECONDS: Final = 1800.0
"""The seconds that no look at a folder takes; a folder that is not looked at for longer has no server."""
_GIB: Final = 1 << 30


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
