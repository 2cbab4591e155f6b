"""The checks of this machine: its folders, its programs, and what it can do."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Final

import psutil

from worker.core.errors import ToolMissing
from worker.core.finding import Finding
from worker.media.capabilities import lanes_of, version_in, version_question

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from worker.core.ports import Runner
    from worker.media.capabilities import Capabilities

VERSION_SECONDS: Final = 15.0
MAX_VERSION_WORDS: Final = 2
_GIB: Final = 1 << 30


async def page(address: str, *, alone: bool, tokens: int, players: Path) -> Finding:
    """Return whether `leveret serve` would begin, and whether browsers can play HLS and DASH.

    `alone` says that only this machine reaches the address; `tokens` is how many let people in.
    """
    if not alone and not tokens:
        advice = "`leveret token admin` prints a token for WORKER_SERVE_TOKENS"
        return Finding(status="error", fact=f"other machines can reach {address}, and no token is set", advice=advice)
    who = f"{tokens} {'token' if tokens == 1 else 'tokens'}" if tokens else "no token, for this machine only"
    there = await asyncio.to_thread(lambda: sum(1 for _ in players.glob("*.js")) if players.is_dir() else 0)
    if not there:
        advice = "`python -m infra assets` fetches them"
        return Finding(
            status="warning", fact=f"{address}, {who}; the players for HLS and DASH are missing", advice=advice
        )
    return Finding(status="ok", fact=f"{address}, {who}; the players for HLS and DASH are installed")


async def no_nas() -> Finding:
    """Return that there is none, which is no fault."""
    return Finding(status="ok", fact="WORKER_NAS_ROOT is not set: jobs here cannot use nas://")


async def folder(path: Path, setting: str) -> Finding:
    """Return whether the folder that `setting` names is there, what it is mounted from, and its space."""
    return await asyncio.to_thread(_look_at_folder, path, setting)


def _look_at_folder(path: Path, setting: str) -> Finding:
    try:
        space = shutil.disk_usage(path)
        readable, writable = os.access(path, os.R_OK | os.X_OK), os.access(path, os.W_OK)
    except OSError as error:
        advice = f"mount it, make it, or correct {setting}"
        return Finding(status="error", fact=f"{path}: {error.strerror}", advice=advice)
    mount, kind = _mount_of(path)
    fact = f"{path} is on {kind} mounted at {mount}, {space.free / _GIB:.1f} GiB free"
    if not readable:
        return Finding(
            status="error",
            fact=f"{fact}, but the worker's user cannot read it",
            advice="give that user the right to read",
        )
    if not writable:
        advice = "give the worker's user the right to write, if jobs write there"
        return Finding(status="warning", fact=f"{fact}, read-only for the worker's user", advice=advice)
    if space.free < _GIB:
        return Finding(status="warning", fact=fact, advice="free space: outputs do not fit")
    return Finding(status="ok", fact=fact)


def _mount_of(path: Path) -> tuple[str, str]:
    """Return where the file system of `path` is mounted, and its type."""
    real = path.resolve()
    kinds = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for place in (real, *real.parents):
        if str(place) in kinds:
            return str(place), kinds[str(place)]
    return "/", "an unknown file system"


async def scratch(folder: Path, needed_bytes: int) -> Finding:
    """Return whether scratch can be made and has the space without which no job is taken."""
    try:
        free = await asyncio.to_thread(_free_bytes, folder)
    except OSError as error:
        return Finding(status="error", fact=f"{folder}: {error.strerror}", advice="correct WORKER_SCRATCH")
    fact = f"{folder} has {free / _GIB:.1f} GiB free"
    if free < needed_bytes:
        advice = f"free space: no job is taken with less than {needed_bytes / _GIB:.1f} GiB (WORKER_SCRATCH_FREE_BYTES)"
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
    return Finding(status="ok", fact=f"{path}: {brief(version)}")


def brief(version: str) -> str:
    """Return `ffmpeg 5.1.9-0+deb12u1` of ffmpeg's first line, which goes on about its authors; others' are cut."""
    words = version.split()
    if words[1:2] == ["version"] and len(words) > MAX_VERSION_WORDS:
        words = [words[0], words[2]]
    return " ".join(words)[:60]


async def capabilities(proving: Awaitable[Capabilities], stated: tuple[str, ...]) -> Finding:
    """Return what this host can do; a lane that the settings name and the host cannot serve is an error."""
    found = await proving
    lanes = lanes_of(found)
    formats = ", ".join(f"{name} by {encoder}" for name, encoder in found.formats.items())
    host = f"{found.cores} {found.architecture} cores, proved in {found.seconds:.1f} s"
    fact = f"lanes {','.join(lanes) or 'none'}; {formats or 'no encoder works'}; {host}"
    if missing := [lane for lane in stated if lane not in lanes]:
        return Finding(
            status="error",
            fact=f"{fact}; it cannot serve {','.join(missing)}",
            advice="correct WORKER_LANES, or repair the hardware's driver and run `leveret doctor --prove`",
        )
    broken = {name: reason for name, reason in found.tools.items() if reason is not True}
    if broken or not lanes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        advice = "repair or remove what does not work, then run `leveret doctor --prove`"
        return Finding(status="warning" if lanes else "error", fact=f"{fact}; {reasons}", advice=advice)
    return Finding(status="ok", fact=fact)
