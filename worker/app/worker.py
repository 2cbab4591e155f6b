"""Settings become a running worker."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from worker import __version__, logs
from worker.adapters import host
from worker.adapters.rabbitmq import Link, RabbitConsumer, RabbitEvents
from worker.adapters.rabbitmq.jobs import RabbitJobs
from worker.adapters.sql import SqlRepository
from worker.adapters.threads import abandon_threads
from worker.app.background import begin_purging, begin_rehearsal, watch_host
from worker.app.chores import chores_of
from worker.app.components import (
    broker_url,
    capabilities,
    host_facts,
    refuse_shared_sqlite,
    registry,
    repositories,
    runner,
    served_lanes,
    tools,
)
from worker.app.control import refuse_missing_sqlite
from worker.app.places import preflight, storages
from worker.core.hours import ActiveHours
from worker.core.policy import Policy
from worker.core.ports import Unobserved
from worker.core.routing import DEFER_SECONDS, queues_of
from worker.engine.attempt.run import LocalProduction
from worker.engine.executor import Executor
from worker.engine.host.announcer import Announcer
from worker.engine.host.callbacks import Callbacks
from worker.engine.host.heartbeat import Heartbeat
from worker.engine.host.presence import WorkerPresence
from worker.engine.host.scratch import Scratch
from worker.engine.host.worker import Worker
from worker.engine.resources import OnStep, Resources, no_step
from worker.settings import unknown_variables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from worker.adapters.metrics import Metrics
    from worker.adapters.storage.web.posting import JsonPoster
    from worker.core.attempt import Attempt, Progress
    from worker.core.ports import Repository
    from worker.core.record import WorkerRecord
    from worker.media.capabilities import Capabilities
    from worker.settings import Settings


THREADS = 16
_ENDING = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


@asynccontextmanager
async def assembled(
    settings: Settings, *, drain: bool, only: tuple[str, ...] | None, on_step: OnStep = no_step
) -> AsyncIterator[Worker]:
    """Yield a worker that is proved, connected, checked and beating; all of it is closed afterwards.

    `on_step` is awaited at each step of a job: what fault tests hang a crash on.
    """
    async with AsyncExitStack() as stack:
        slot = host.WorkerSlot(settings.scratch / "workers", settings.hostname, settings.id)
        stack.callback(slot.release)
        refuse_missing_sqlite(settings)
        rows = SqlRepository(settings.database_url.get_secret_value(), lease_seconds=settings.lease_seconds)
        stack.push_async_callback(rows.close)
        await rows.check()
        events = RabbitEvents(
            Link(broker_url(settings), f"leveret {slot.worker_id} pid {os.getpid()} events", confirms=False)
        )
        stack.push_async_callback(events.close)
        presence = WorkerPresence(
            slot.worker_id,
            settings.hostname,
            __version__,
            partial(host.measure, settings.scratch),
            lambda: events.blocked,
        )
        stack.callback(presence.close)
        metrics = _metrics(settings, stack)

        async def describe() -> WorkerRecord:
            record = await presence.describe()
            if metrics is not None:
                metrics.beat(record)
            return record

        heartbeat = Heartbeat(
            rows, events, describe, presence.apply_command, settings.heartbeat_seconds, presence.note_namesake
        )
        stack.push_async_callback(heartbeat.stop)
        await heartbeat.start()
        facts = await asyncio.to_thread(host_facts, settings)
        presence.capabilities = await capabilities(settings, again=settings.prove)
        log.info(
            "capabilities_proved", formats=presence.capabilities.formats, hardware=list(presence.capabilities.hardware)
        )
        presence.lanes = served_lanes(settings, presence.capabilities, only)
        policy = Policy(settings.retry_delays)
        consumer = await _consumer(settings, stack, slot.worker_id, presence.lanes, policy, await rows.identity())
        jobs = RabbitJobs(
            Link(
                broker_url(settings),
                f"leveret {slot.worker_id} pid {os.getpid()} outbox",
                confirms=True,
                wait_seconds=10,
            )
        )
        stack.push_async_callback(jobs.close)
        resources = replace(
            _resources(settings, rows, Announcer(events), presence.capabilities, metrics),
            on_step=on_step,
            publisher=jobs,
        )
        executor = Executor(
            resources,
            policy,
            LocalProduction(resources),
            worker_id=slot.worker_id,
            lanes=presence.lanes,
            lease_seconds=settings.lease_seconds,
            long_lease_seconds=settings.publish_lease_seconds,
            unserved_seconds=settings.unserved_seconds,
            offline_seconds=settings.offline_seconds,
        )
        chores = chores_of(resources, consumer, slot.worker_id, presence.lanes, settings.log_days * 86400)
        worker = _worker(settings, stack, consumer, executor, resources, chores, drain=drain)
        await resources.runner.sweep(resources.scratch.is_live)
        await chores()
        presence.open(worker, executor)
        await heartbeat.beat()
        # What exists now lives to the end: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        begin_purging(settings, resources, stack)
        if "visualize" in presence.lanes:
            begin_rehearsal(resources, stack)
        watch_host(settings, facts, worker.renew, stack)
        yield worker


def _metrics(settings: Settings, stack: AsyncExitStack) -> Metrics | None:
    """Return what counts, shown at its address until `stack` closes; None where nobody asks."""
    if not settings.metrics_address:
        return None
    # Its import takes memory and time: only who is asked pays for it.
    from worker.adapters.metrics import Metrics, metrics_server  # noqa: PLC0415

    metrics = Metrics(registry().tasks, {Path(path).name for path in tools(settings).values()})
    stack.enter_context(metrics_server(metrics.registry, settings.metrics_address))
    return metrics


def _resources(
    settings: Settings, rows: Repository, announcer: Announcer, proved: Capabilities, metrics: Metrics | None
) -> Resources:
    async def progressed(attempt: Attempt, progress: Progress) -> None:
        if metrics is not None:
            await metrics.progressed(attempt, progress)
        await announcer.progress(attempt, progress)

    observer = metrics or Unobserved()
    return Resources(
        repository=rows,
        storages=storages(settings, observer),
        registry=registry(repositories(settings)),
        runner=runner(settings, metrics.tool_ended if metrics else None),
        scratch=Scratch(settings.scratch, settings.scratch_free_bytes),
        tools=tools(settings),
        capabilities=proved,
        destination=settings.storage_url,
        stall_seconds=settings.stall_seconds,
        job_seconds=settings.job_seconds,
        most_outputs=settings.job_outputs,
        on_progress=progressed,
        on_state=announcer.state,
        observer=observer,
        parts_url=settings.parts_url,
        offline_seconds=settings.offline_seconds,
    )


def _worker(
    settings: Settings,
    stack: AsyncExitStack,
    consumer: RabbitConsumer,
    executor: Executor,
    resources: Resources,
    chores: Callable[[], Awaitable[None]],
    *,
    drain: bool,
) -> Worker:
    @cache
    def poster() -> JsonPoster:
        # httpx takes 4 MB: only who is asked to call back pays for it.
        from worker.adapters.storage.web.posting import JsonPoster  # noqa: PLC0415

        made = JsonPoster(allow_private=settings.allow_private_addresses)
        stack.push_async_callback(made.close)
        return made

    async def post(url: str, document: str) -> None:
        await poster()(url, document)

    return Worker(
        consumer,
        executor,
        Callbacks(resources.repository, post),
        preflight=preflight(resources.storages, resources.scratch, resources.tools),
        chores=chores,
        grace_seconds=settings.grace_seconds,
        drain=drain,
        hours=ActiveHours.parse(settings.active_hours),
    )


async def _consumer(
    settings: Settings,
    stack: AsyncExitStack,
    worker_id: str,
    served: tuple[str, ...],
    policy: Policy,
    identity: str,
) -> RabbitConsumer:
    name = f"leveret {worker_id} pid {os.getpid()} {','.join(served)}"
    link = Link(broker_url(settings), name, confirms=False, wait_seconds=settings.connect_seconds)
    consumer = RabbitConsumer(
        link,
        Link(broker_url(settings), f"{name} publisher", confirms=True),
        queues_of(served),
        tag=f"leveret {worker_id} pid {os.getpid()}",
        max_attempts=policy.max_attempts,
        delays=policy.delays,
    )
    stack.push_async_callback(consumer.close)
    await link.check_topology(settings.retry_delays, DEFER_SECONDS)
    await link.require_fleet(identity)
    return consumer


async def run_worker(
    settings: Settings, *, drain: bool = False, only: tuple[str, ...] | None = None, on_step: OnStep = no_step
) -> None:
    """Consume until SIGTERM, or with `drain` until the queues are empty."""
    logs.configure(settings.log_level, settings.log_format)
    abandon_threads(THREADS)
    for problem in unknown_variables():
        log.warning("setting_unknown", problem=problem)
    refuse_shared_sqlite(settings)
    if "storage_url" not in settings.model_fields_set:
        # Only our own default is made: a stated folder that is missing may be a mount that is away.
        default = Path(settings.storage_url.removeprefix("file://"))
        await asyncio.to_thread(default.mkdir, parents=True, exist_ok=True)
    while await _run_one(settings, drain=drain, only=only, on_step=on_step):
        log.info("worker_restarted")
    log.info("worker_stopped")


async def _run_one(settings: Settings, *, drain: bool, only: tuple[str, ...] | None, on_step: OnStep) -> bool:
    """Return after a worker ended: whether another one is to take its place, for this host has changed.

    Between two workers no job is held, and a signal ends the process at once, as it does before the first.
    """
    loop = asyncio.get_running_loop()
    async with assembled(settings, drain=drain, only=only, on_step=on_step) as worker:
        for number in _ENDING:
            loop.add_signal_handler(number, worker.stop)
        log.info("worker_started", version=__version__, pid=os.getpid())
        await worker.run()
        if worker.is_outdated:
            for number in _ENDING:
                loop.remove_signal_handler(number)
        return worker.is_outdated
