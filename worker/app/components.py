"""The parts that need nothing but settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from yarl import URL

from worker.adapters import host
from worker.adapters.git import GitRepositories
from worker.app.places import roots
from worker.core.brokers import broker_urls
from worker.core.errors import Misconfigured
from worker.engine.host.capabilities import Prover
from worker.media.capabilities import lanes_of
from worker.process.runner import ProcessRunner
from worker.registry import Registry
from worker.settings import Settings, environment
from worker.tasks.visualizer import visualizer_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.command import Exit
    from worker.core.ports import Repositories
    from worker.media.capabilities import Capabilities


TOOLS = ("ffmpeg", "ffprobe", "packager", "mkvmerge", "mkvextract", "mkvpropedit", "handbrake", "gource", "git")
MIN_TOOL_MEMORY = 4 << 30
LOOPBACK = ("127.", "localhost", "[::1]", "::1")


def registry(repositories: Repositories | None = None) -> Registry:
    """Return the installed modules: tasks, and a task for each visualizer.

    Without `repositories` they are good for judging jobs, which clones nothing.
    """
    return Registry.load(more=visualizer_tasks(repositories or GitRepositories(ProcessRunner({}))))


def repositories(settings: Settings) -> Repositories:
    """Return what clones repositories."""
    folders = [Path(place.path) for place in roots(settings) if place.scheme == "file"]
    return GitRepositories(
        runner(settings),
        git=tools(settings).get("git", "git"),
        file_roots=folders if settings.allow_file_repos else (),
        allow_private=settings.allow_private_addresses,
        clone_bytes=settings.clone_bytes,
        clone_seconds=settings.clone_seconds,
    )


def tools(settings: Settings) -> dict[str, str]:
    """Return where this host's programs are."""
    stated = {name: getattr(settings, name) for name in TOOLS}
    return host.find_tools(stated, host.bundled_tools())


def host_facts(settings: Settings) -> dict[str, Any]:
    """Return all that the proof of this host depends on; Misconfigured where a stated program is missing."""
    return host.facts(tools(settings))


async def capabilities(settings: Settings, *, again: bool = False) -> Capabilities:
    """Return what this host has proved that it can do; `again` proves it anew."""
    programs = tools(settings)
    facts = await asyncio.to_thread(host.facts, programs)
    return await Prover(runner(settings), programs, facts, settings.scratch / "workers").capabilities(again=again)


def served_lanes(settings: Settings, proved: Capabilities, only: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the lanes that this worker serves: those named, else the settings', else those that it can serve."""
    lanes = only or settings.lanes or lanes_of(proved)
    if not lanes:
        raise Misconfigured(
            "this host can serve no lane: no encoder works and gource draws nothing; see `leveret doctor`"
        )
    return lanes


def tool_memory(wanted: int | None) -> int:
    """Return the bytes that a tool may allocate: those of the settings, else a part of this host's memory."""
    if wanted is not None:
        return wanted
    return max(MIN_TOOL_MEMORY, psutil.virtual_memory().total * 3 // 4)


def runner(settings: Settings, on_exit: Callable[[Exit], None] | None = None) -> ProcessRunner:
    """Return what starts programs; `on_exit` is called with how each ended."""
    return ProcessRunner(
        environment(),
        nice=settings.nice,
        memory_bytes=tool_memory(settings.tool_memory_bytes),
        file_bytes=settings.tool_file_bytes,
        on_exit=on_exit,
    )


def broker_url(settings: Settings) -> str:
    """Return the broker's URL, with its secret."""
    return settings.broker_url.get_secret_value()


def refuse_shared_sqlite(settings: Settings) -> None:
    """Raise Misconfigured when workers of several hosts could meet a file that only one host can lock."""
    names = [URL(url).host or "" for url in broker_urls(broker_url(settings))]
    away = [name for name in names if not name.startswith(LOOPBACK)]
    if settings.database_url.get_secret_value().startswith("sqlite") and away:
        raise Misconfigured(
            f"WORKER_DATABASE_URL is SQLite, which serves the workers of one host, but the broker is on {away[0]}:"
            " use postgresql://… for a fleet"
        )
