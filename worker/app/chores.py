"""The chores of a worker between two jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from worker.engine.attempt.leftovers import finish_deletions
from worker.engine.attempt.sources import sweep_sources
from worker.engine.deaths import DeathRecorder
from worker.engine.parts.copies import copy_slow_parts
from worker.engine.parts.files import remove_ended_parts
from worker.engine.parts.outbox import LEFT_SECONDS, publish_outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.adapters.rabbitmq import RabbitConsumer
    from worker.engine.resources import Resources

log = structlog.get_logger(__name__)


def chores_of(
    resources: Resources, consumer: RabbitConsumer, worker_id: str, lanes: tuple[str, ...], log_seconds: float
) -> Callable[[], Awaitable[None]]:
    """Return what is done now and then between jobs.

    Left-over scratch of killed workers goes, and old logs; what completed jobs could not delete is deleted; what the
    broker moved to the dead letters is recorded.
    """
    deaths = DeathRecorder(resources, worker_id, lanes[0])

    async def sweep() -> None:
        for useless in await resources.repository.expired_kept(worker_id):
            await resources.repository.drop_kept(useless.job_id, worker_id)
        kept = {Path(folder).name for folder in await resources.repository.kept_folders()}
        await resources.repository.forget_logs(log_seconds)
        await publish_outbox(resources, LEFT_SECONDS)
        await finish_deletions(resources.repository, resources.storages)
        await remove_ended_parts(resources)
        await copy_slow_parts(resources, worker_id, lanes)
        removed = await asyncio.to_thread(resources.scratch.sweep, kept)
        await asyncio.to_thread(sweep_sources, resources.scratch)
        if removed:
            log.info("scratch_swept", folders=removed)
        await deaths.record(consumer)

    return sweep
