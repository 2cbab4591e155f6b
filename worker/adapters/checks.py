"""The looks that `doctor` takes: each returns what is, and what to do about it."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.errors import ToolMissing
from worker.core.finding import Finding
from worker.core.record import serving
from worker.core.routing import LANES
from worker.media.capabilities import lanes_of, version_in, version_question

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from worker.core.dead_letter import Broker
    from worker.core.ports import Repository, Runner
    from worker.core.routing import Queue
    from worker.media.capabilities import Capabilities

VERSION_SECONDS: Final = 15.0
WAITING_JOBS: Final = 1000
_GIB: Final = 1 << 30


async def database(repository: Repository) -> Finding:
    """Return whether the database answers and its schema is the newest."""
    try:
        await repository.check()
    finally:
        await repository.close()
    return Finding(status="ok", fact="it answers, and its schema is the newest")


async def broker(publisher: Broker, queues: tuple[Queue, ...]) -> Finding:
    """Return whether the broker answers and holds our queues with our arguments."""
    with publisher:
        differences = publisher.differences(queues)
    if differences:
        missing = all(line.endswith("is missing") for line in differences)
        advice = "run `python -m infra provision`" if missing else "drain and delete what differs, then provision"
        return Finding(status="error", fact="; ".join(differences), advice=advice)
    return Finding(status="ok", fact=f"it answers and holds our {len(queues)} queues")


class Checkable(Protocol):
    """A storage, or all of them."""

    async def check(self) -> None:
        """Return if it can be written to now."""
        ...


async def storage(place: Checkable, url: str) -> Finding:
    """Return whether the storage can be written to."""
    await place.check()
    return Finding(status="ok", fact=f"{url} can be written to")


async def scratch(folder: Path, needed_bytes: int) -> Finding:
    """Return whether scratch can be made and has the space without which no job is taken."""
    try:
        free = await asyncio.to_thread(_free_bytes, folder)
    except OSError as error:
        return Finding(status="error", fact=f"{folder}: {error.strerror}", advice="set WORKER_SCRATCH")
    fact = f"{folder} has {free / _GIB:.1f} GiB free"
    if free < needed_bytes:
        advice = f"free space: jobs are taken from {needed_bytes / _GIB:.1f} GiB on (WORKER_SCRATCH_FREE_BYTES)"
        return Finding(status="error", fact=fact, advice=advice)
    return Finding(status="ok", fact=fact)


def _free_bytes(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free


async def tool(name: str, path: str | None, runner: Runner, *, required: bool) -> Finding:
    """Return where a program is and which version it says it is; its absence breaks only what requires it."""
    status: Final = "error" if required else "warning"
    advice = f"install it, or set WORKER_{name.upper()}"
    if path is None:
        return Finding(status=status, fact="not found", advice=advice)
    try:
        (end,) = await runner.run(version_question(name, path), timeout=VERSION_SECONDS)
    except ToolMissing as error:
        return Finding(status=status, fact=str(error), advice=advice)
    version = version_in(f"{end.output}\n{end.tail}")
    if not end.ok or version is None:
        return Finding(status=status, fact=f"{path}: {end}", advice=advice)
    return Finding(status="ok", fact=f"{path}: {version[:120]}")


async def capabilities(proving: Awaitable[Capabilities], stated: tuple[str, ...]) -> Finding:
    """Return what this host can do; a lane that the settings name and the host cannot serve is an error."""
    found = await proving
    lanes = lanes_of(found)
    formats = ", ".join(f"{name} by {encoder}" for name, encoder in found.formats.items())
    fact = f"lanes {','.join(lanes) or 'none'}; {formats or 'no encoder works'}"
    if missing := [lane for lane in stated if lane not in lanes]:
        return Finding(
            status="error",
            fact=f"{fact}; it cannot serve {','.join(missing)}",
            advice="correct WORKER_LANES, or mend the hardware's driver and run `leveret doctor --prove`",
        )
    broken = {name: reason for name, reason in found.tools.items() if reason is not True}
    if broken or not lanes:
        told = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        advice = "mend or remove what does not work, then run `leveret doctor --prove`"
        return Finding(status="warning" if lanes else "error", fact=f"{fact}; {told}", advice=advice)
    return Finding(status="ok", fact=fact)


async def lanes(repository: Repository, offline_after: float) -> Finding:
    """Return which lanes living workers serve; jobs that wait in one without any are a warning."""
    try:
        served = serving(await repository.workers(offline_after))
        waiting = [job.lane for state in ("queued", "retrying") for job in await repository.jobs(state, WAITING_JOBS)]
    finally:
        await repository.close()
    fact = ", ".join(f"{lane}: {len(served.get(lane, ()))}" for lane in LANES)
    stuck = sorted({lane for lane in waiting if lane not in served})
    if stuck:
        told = ", ".join(f"{waiting.count(lane)} in {lane}" for lane in stuck)
        advice = f"start a worker that serves {','.join(stuck)}, or cancel the jobs"
        return Finding(status="warning", fact=f"workers by lane: {fact}; jobs wait for nobody: {told}", advice=advice)
    return Finding(status="ok", fact=f"workers by lane: {fact}")
