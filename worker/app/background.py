"""The background tasks of a worker, each of which ends with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from worker.app import serving
from worker.app.components import host_facts
from worker.core.errors import Misconfigured
from worker.engine.attempt.context import ToolLookup
from worker.engine.host.changes import HostWatch
from worker.engine.host.purge import Purger
from worker.tasks.visualizer import VisualizerTask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from contextlib import AsyncExitStack

    from worker.engine.resources import Resources
    from worker.settings import Settings

log = structlog.get_logger(__name__)


def begin_rehearsal(resources: Resources, stack: AsyncExitStack) -> None:
    """Let the visualizers try this host while the worker begins."""

    async def rehearse() -> None:
        lookup = ToolLookup(resources.repository, resources.runner, resources.tools)
        for task in resources.registry.tasks.values():
            if isinstance(task, VisualizerTask):
                log.info("visualizer_rehearsed", module=task.module, found=await task.rehearse(lookup))

    _begin(rehearse(), "rehearsal", stack)


def begin_purging(settings: Settings, resources: Resources, stack: AsyncExitStack) -> None:
    """Let old originals go while the worker works."""
    if not resources.storages.keepers:
        return
    readers = {scheme: reader for reader in serving.readers(settings) for scheme in reader.schemes}
    purger = Purger(resources.repository, resources.storages, readers, settings.undo_days * 86400, settings.undo_bytes)
    _begin(purger.run(), "purge", stack)


def watch_host(
    settings: Settings, proved: Mapping[str, Any], changed: Callable[[], None], stack: AsyncExitStack
) -> None:
    """Call `changed` when this host is another one than was proved."""

    def look() -> Mapping[str, Any] | None:
        try:
            return host_facts(settings)
        except (Misconfigured, OSError):
            # A stated program is away: the worker rests meanwhile, and says so.
            return None

    _begin(HostWatch(proved, look, changed).run(), "host watch", stack)


def _begin(running: Coroutine[Any, Any, None], name: str, stack: AsyncExitStack) -> None:
    task = asyncio.create_task(running, name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
