"""The looks that `doctor` takes: each returns what is, and what to do about it."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.command import Pipeline
from worker.core.errors import ToolMissing
from worker.core.finding import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.dead_letter import Broker
    from worker.core.ports import Repository, Runner
    from worker.core.routing import Queue

VERSION_SECONDS: Final = 15.0
VERSION_FLAGS: Final = {
    "ffmpeg": "-version",
    "ffprobe": "-version",
    "packager": "--version",
    "mkvmerge": "--version",
    "mkvextract": "--version",
    "handbrake": "--version",
    "gource": "--help",
}
"""How each program is asked; gource's help, whose head is its version, needs no display."""
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
    pipeline = Pipeline.of(path, VERSION_FLAGS.get(name, "--version"), label=f"version of {name}")
    try:
        (end,) = await runner.run(pipeline, timeout=VERSION_SECONDS)
    except ToolMissing as error:
        return Finding(status=status, fact=str(error), advice=advice)
    lines = [line.strip() for line in (end.output + "\n" + end.tail).splitlines() if line.strip()]
    if not end.ok or not lines:
        return Finding(status=status, fact=f"{path}: {end}", advice=advice)
    version = next((line for line in lines if any(character.isdigit() for character in line)), lines[0])
    return Finding(status="ok", fact=f"{path}: {version[:120]}")
