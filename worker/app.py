"""The composition root: Settings become a running worker. The only module that names concrete classes."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from yarl import URL

from worker import __version__, logs
from worker.adapters import checks as look
from worker.adapters import host
from worker.adapters.git import GitRepositories
from worker.adapters.nas import NasStorage
from worker.adapters.publisher import Publisher
from worker.adapters.rabbitmq import Link, RabbitConsumer, RabbitEvents
from worker.adapters.sql import SqlRepository
from worker.adapters.web import WebSource, post_json
from worker.core.errors import Misconfigured
from worker.core.hours import ActiveHours
from worker.core.location import External, parse_location
from worker.core.policy import Policy
from worker.core.ports import Unobserved
from worker.core.routing import DEFER_SECONDS, queues_of, topology
from worker.engine.announcer import Announcer
from worker.engine.attempt import Bench, OnStep, no_step
from worker.engine.callbacks import Callbacks
from worker.engine.capabilities import Prover
from worker.engine.context import ToolLookup
from worker.engine.executor import Executor
from worker.engine.front import Front
from worker.engine.heartbeat import Heartbeat
from worker.engine.reconcile import Reconciler
from worker.engine.scratch import Scratch
from worker.engine.storages import Storages
from worker.engine.worker import Worker
from worker.media.capabilities import lanes_of
from worker.process.runner import ProcessRunner
from worker.registry import Registry
from worker.settings import Settings, environment
from worker.tasks.visualizer import VisualizerTask, visualizer_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from worker.adapters.metrics import Metrics
    from worker.core.attempt import Attempt, Progress
    from worker.core.command import Exit
    from worker.core.finding import Check, Finding
    from worker.core.ports import Observer, Repositories, Repository, Storage
    from worker.core.record import WorkerRecord
    from worker.media.capabilities import Capabilities

log = structlog.get_logger(__name__)

TOOLS = ("ffmpeg", "ffprobe", "packager", "mkvmerge", "mkvextract", "handbrake", "gource", "git")
LOOPBACK = ("127.", "localhost", "[::1]", "::1")


def repository(settings: Settings) -> Repository:
    """Return the database."""
    return SqlRepository(settings.database_url.get_secret_value())


def publisher(settings: Settings) -> Publisher:
    """Return the broker as people's commands use it: a connection a command."""
    return Publisher(settings.broker_url.get_secret_value())


def registry(repositories: Repositories | None = None) -> Registry:
    """Return the installed modules: tasks, and a task for each visualizer.

    Without `repositories` they are good for judging jobs, which clones nothing.
    """
    return Registry.load(more=visualizer_tasks(repositories or GitRepositories(ProcessRunner({}))))


def _repositories(settings: Settings) -> Repositories:
    roots = [Path(place.path) for place in _roots(settings) if place.scheme == "file"]
    return GitRepositories(
        _runner(settings),
        git=tools(settings).get("git", "git"),
        file_roots=roots if settings.allow_file_repos else (),
        allow_private=settings.allow_private_addresses,
        clone_bytes=settings.clone_bytes,
        clone_seconds=settings.clone_seconds,
    )


def tools(settings: Settings) -> dict[str, str]:
    """Return where this host's programs are."""
    stated = {name: getattr(settings, name) for name in TOOLS}
    return host.find_tools(stated, host.bundled_tools())


async def capabilities(settings: Settings, *, again: bool = False) -> Capabilities:
    """Return what this host has proved that it can do; `again` proves it anew."""
    programs = tools(settings)
    facts = await asyncio.to_thread(host.facts, programs)
    return await Prover(_runner(settings), programs, facts, settings.scratch / "workers").capabilities(again=again)


def served_lanes(settings: Settings, proved: Capabilities, only: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the lanes that this worker serves: those named, else the settings', else those that it can serve."""
    lanes = only or settings.lanes or lanes_of(proved)
    if not lanes:
        raise Misconfigured(
            "this host can serve no lane: no encoder works and gource draws nothing; see `leveret doctor`"
        )
    return lanes


def storages(settings: Settings, observer: Observer | None = None) -> Storages:
    """Return every place that jobs may read from or write to."""
    places = _roots(settings)
    nas = parse_location(settings.storage_url)
    folder = None
    if isinstance(nas, External) and nas.scheme in {"file", "nas"}:
        folder = Path(nas.path) if nas.scheme == "file" else Path(str(settings.nas_root), nas.key)
    found: list[Storage] = [
        NasStorage(
            settings.nas_root,
            tuple(Path(place.path) for place in places if place.scheme == "file"),
            destination=folder,
            public_url=settings.public_url,
        ),
        WebSource(allow_private=settings.allow_private_addresses),
    ]
    if buckets := tuple(place for place in places if place.scheme == "s3"):
        found.append(_s3(settings, buckets))
    return Storages.of(found, settings.path_map, observer)


def _s3(settings: Settings, roots: tuple[External, ...]) -> Storage:
    # boto3 takes 30 MB of memory and a third of a second to import: only who uses S3 pays for it.
    from worker.adapters.s3 import S3Storage  # noqa: PLC0415

    destination = parse_location(settings.storage_url)
    inside = destination if isinstance(destination, External) and destination.scheme == "s3" else None
    return S3Storage(roots, destination=inside, public_url=settings.public_url)


def checks(settings: Settings, *, prove: bool = False) -> list[tuple[str, Check]]:
    """Return what `doctor` looks at, in order; nothing is touched before a check is awaited."""
    needed = ("ffmpeg", "ffprobe", *(("gource",) if "visualize" in settings.lanes else ()))
    folders = [place for place in _roots(settings) if place.scheme == "file"]
    return [
        ("database", lambda: _look_at_database(settings)),
        ("clock", lambda: look.clock(repository(settings))),
        ("broker", lambda: look.broker(publisher(settings), topology(settings.retry_delays).queues)),
        ("broker time-out", lambda: look.patience(publisher(settings), settings.job_seconds)),
        *((f"root {place.path}", partial(look.folder, Path(place.path))) for place in folders),
        ("storage", lambda: look.storage(storages(settings), settings.storage_url)),
        ("scratch", lambda: look.scratch(settings.scratch, settings.scratch_free_bytes)),
        *((name, partial(_look_at_tool, settings, name, required=name in needed)) for name in TOOLS),
        ("capabilities", lambda: look.capabilities(capabilities(settings, again=prove), settings.lanes)),
        ("lanes", lambda: look.lanes(repository(settings), settings.offline_seconds)),
    ]


async def _look_at_database(settings: Settings) -> Finding:
    refuse_shared_sqlite(settings)
    return await look.database(repository(settings))


async def _look_at_tool(settings: Settings, name: str, *, required: bool) -> Finding:
    """Return what is known of one program: a wrong setting of it hides nothing else."""
    found = host.find_tools({name: getattr(settings, name)}, host.bundled_tools())
    return await look.tool(name, found.get(name), _runner(settings), required=required)


def _roots(settings: Settings) -> tuple[External, ...]:
    """Return what jobs may touch: the stated roots, the NAS root, and the storage itself."""
    stated = [
        *settings.roots,
        settings.storage_url,
        *([str(settings.nas_root.absolute())] if settings.nas_root else []),
    ]
    places = []
    for text in stated:
        place = parse_location(text)
        if not isinstance(place, External) or place.is_web:
            raise Misconfigured(f"WORKER_ROOTS: {text!r} is no absolute folder and no s3://bucket/prefix")
        places.append(place)
    return tuple(dict.fromkeys(place for place in places if place.scheme != "nas"))


def preflight(places: Storages, scratch: Scratch) -> Callable[[], Awaitable[None]]:
    """Return what must hold before a job is taken."""

    async def check() -> None:
        await asyncio.to_thread(scratch.check)
        await places.check()

    return check


def reconciler(settings: Settings, rows: Repository, *, seconds: float, mend: bool) -> Reconciler:
    """Return what compares database, broker and storage; `seconds` are how long a job may be overdue."""
    return Reconciler(
        rows,
        storages(settings),
        Scratch(settings.scratch),
        topology(settings.retry_delays),
        seconds=seconds,
        mend=mend,
    )


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
        rows = SqlRepository(settings.database_url.get_secret_value())
        stack.push_async_callback(rows.close)
        await rows.check()
        events = RabbitEvents(
            Link(_url(settings), f"leveret {slot.worker_id} pid {os.getpid()} events", confirms=False)
        )
        stack.push_async_callback(events.close)
        front = Front(slot.worker_id, settings.hostname, __version__, partial(host.measure, settings.scratch))
        stack.callback(front.close)
        metrics = _metrics(settings, stack)

        async def describe() -> WorkerRecord:
            record = await front.describe()
            if metrics is not None:
                metrics.beat(record)
            return record

        heartbeat = Heartbeat(rows, events, describe, front.wanted, settings.heartbeat_seconds)
        stack.push_async_callback(heartbeat.stop)
        await heartbeat.start()
        front.capabilities = await capabilities(settings, again=settings.prove)
        log.info("host_proved", formats=front.capabilities.formats, hardware=list(front.capabilities.hardware))
        front.lanes = served_lanes(settings, front.capabilities, only)
        policy = Policy(settings.retry_delays)
        consumer = await _consumer(settings, stack, slot.worker_id, front.lanes, policy)
        bench = replace(_bench(settings, rows, Announcer(events), front.capabilities, metrics), on_step=on_step)
        executor = Executor(
            bench,
            policy,
            worker_id=slot.worker_id,
            lanes=front.lanes,
            lease_seconds=settings.lease_seconds,
            unserved_seconds=settings.unserved_seconds,
            offline_seconds=settings.offline_seconds,
        )
        chores = _chores(bench, slot.worker_id, settings.log_days * 86400)
        worker = _worker(settings, consumer, executor, bench, chores, drain=drain)
        await bench.runner.sweep(bench.scratch.is_live)
        await chores()
        front.open(worker, executor)
        await heartbeat.beat()
        if "visualize" in front.lanes:
            stack.push_async_callback(_rehearsed(bench))
        yield worker


def _rehearsed(bench: Bench) -> Callable[[], Awaitable[None]]:
    """Let the visualizers try this host while the worker begins; return what ends that."""

    async def rehearse() -> None:
        lookup = ToolLookup(bench.repository, bench.runner, bench.tools)
        for task in bench.registry.tasks.values():
            if isinstance(task, VisualizerTask):
                log.info("visualizer_rehearsed", module=task.module, found=await task.rehearse(lookup))

    rehearsal = asyncio.create_task(rehearse(), name="rehearsal")

    async def end() -> None:
        rehearsal.cancel()
        await asyncio.gather(rehearsal, return_exceptions=True)

    return end


def _metrics(settings: Settings, stack: AsyncExitStack) -> Metrics | None:
    """Return what counts, shown at its address until `stack` closes; None where nobody asks."""
    if not settings.metrics_address:
        return None
    # Its import takes memory and time: only who is asked pays for it.
    from worker.adapters.metrics import Metrics, shown  # noqa: PLC0415

    metrics = Metrics(registry().tasks, {Path(path).name for path in tools(settings).values()})
    stack.enter_context(shown(metrics.registry, settings.metrics_address))
    return metrics


def _bench(
    settings: Settings, rows: Repository, announcer: Announcer, proved: Capabilities, metrics: Metrics | None
) -> Bench:
    async def progressed(attempt: Attempt, progress: Progress) -> None:
        if metrics is not None:
            await metrics.progressed(attempt, progress)
        await announcer.progress(attempt, progress)

    observer = metrics or Unobserved()
    return Bench(
        repository=rows,
        storages=storages(settings, observer),
        registry=registry(_repositories(settings)),
        runner=_runner(settings, metrics.tool_ended if metrics else None),
        scratch=Scratch(settings.scratch, settings.scratch_free_bytes),
        tools=tools(settings),
        capabilities=proved,
        destination=settings.storage_url,
        stall_seconds=settings.stall_seconds,
        job_seconds=settings.job_seconds,
        on_progress=progressed,
        on_state=announcer.state,
        observer=observer,
    )


def _worker(
    settings: Settings,
    consumer: RabbitConsumer,
    executor: Executor,
    bench: Bench,
    chores: Callable[[], Awaitable[None]],
    *,
    drain: bool,
) -> Worker:
    async def post(url: str, document: str) -> None:
        await post_json(url, document, allow_private=settings.allow_private_addresses)

    return Worker(
        consumer,
        executor,
        Callbacks(bench.repository, post),
        preflight=preflight(bench.storages, bench.scratch),
        chores=chores,
        grace_seconds=settings.grace_seconds,
        drain=drain,
        hours=ActiveHours.parse(settings.active_hours),
    )


def _url(settings: Settings) -> str:
    return settings.broker_url.get_secret_value()


async def _consumer(
    settings: Settings, stack: AsyncExitStack, worker_id: str, served: tuple[str, ...], policy: Policy
) -> RabbitConsumer:
    name = f"leveret {worker_id} pid {os.getpid()} {','.join(served)}"
    link = Link(_url(settings), name, confirms=False, patience=settings.connect_seconds)
    consumer = RabbitConsumer(
        link,
        Link(_url(settings), f"{name} publisher", confirms=True),
        queues_of(served),
        tag=f"leveret {worker_id} pid {os.getpid()}",
        max_attempts=policy.max_attempts,
    )
    stack.push_async_callback(consumer.close)
    await link.check_topology(settings.retry_delays, DEFER_SECONDS)
    return consumer


def _runner(settings: Settings, on_exit: Callable[[Exit], None] | None = None) -> ProcessRunner:
    return ProcessRunner(
        environment(),
        nice=settings.nice,
        memory_bytes=settings.tool_memory_bytes,
        file_bytes=settings.tool_file_bytes,
        on_exit=on_exit,
    )


def _chores(bench: Bench, worker_id: str, log_seconds: float) -> Callable[[], Awaitable[None]]:
    """Return what is done now and then between jobs: left-over scratch of killed workers goes, and old logs."""

    async def sweep() -> None:
        for useless in await bench.repository.expired_kept(worker_id):
            await bench.repository.drop_kept(useless.job_id, worker_id)
        kept = {Path(folder).name for folder in await bench.repository.kept_folders()}
        await bench.repository.forget_logs(log_seconds)
        removed = await asyncio.to_thread(bench.scratch.sweep, kept)
        if removed:
            log.info("scratch_swept", folders=removed)

    return sweep


async def run_worker(
    settings: Settings, *, drain: bool = False, only: tuple[str, ...] | None = None, on_step: OnStep = no_step
) -> None:
    """Consume until SIGTERM, or with `drain` until the queues are empty."""
    logs.configure(settings.log_level, settings.log_format)
    refuse_shared_sqlite(settings)
    if "storage_url" not in settings.model_fields_set:
        # Only our own default is made: a stated folder that is missing may be a mount that is away.
        default = Path(settings.storage_url.removeprefix("file://"))
        await asyncio.to_thread(default.mkdir, parents=True, exist_ok=True)
    async with assembled(settings, drain=drain, only=only, on_step=on_step) as worker:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        log.info("worker_started", version=__version__, pid=os.getpid())
        await worker.run()
        log.info("worker_stopped")


def refuse_shared_sqlite(settings: Settings) -> None:
    """Raise Misconfigured when workers of several hosts could meet a file that only one host can lock."""
    name = URL(settings.broker_url.get_secret_value()).host or ""
    if settings.database_url.get_secret_value().startswith("sqlite") and not name.startswith(LOOPBACK):
        raise Misconfigured(
            f"WORKER_DATABASE_URL is SQLite, which serves the workers of one host, but the broker is on {name}:"
            " use postgresql://… for a fleet"
        )
