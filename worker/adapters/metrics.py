"""The metrics of a worker, for Prometheus: an observer of the engine, and the address that shows it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.metrics import MetricWrapperBase

from worker.core.attempt import Completed, Dead, Retry
from worker.core.command import Reason
from worker.core.errors import LeaseLost, Misconfigured
from worker.core.record import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.core.attempt import Attempt, Progress, Settlement
    from worker.core.command import Exit
    from worker.core.record import WorkerRecord

DURATIONS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600)
WAITS: Final = (0.01, 0.1, 1, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600)
OTHER: Final = "other"


class Metrics:
    """`worker.core.ports.Observer`. `modules` and `programs` are the names that may be labels; all else is `other`."""

    def __init__(self, modules: Iterable[str], programs: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._modules, self._programs = frozenset(modules), frozenset(programs)
        registry = self.registry
        self._jobs = Counter(
            "leveret_jobs",
            "Deliveries that were settled: completed, repeated (done before), retry, dead, defer, forward, requeue, "
            "cancelled. A job of several modules counts as `several`.",
            ("outcome", "lane", "module"),
            registry=registry,
        )
        self._seconds = Histogram(
            "leveret_job_seconds",
            "How long attempts that completed their job took, from delivery to settlement.",
            ("lane", "module"),
            buckets=DURATIONS,
            registry=registry,
        )
        self._waits = Histogram(
            "leveret_job_wait_seconds",
            "How long jobs waited for their first attempt, where the publisher said when it queued them.",
            ("lane", "priority"),
            buckets=WAITS,
            registry=registry,
        )
        self._retries = Counter(
            "leveret_retries", "Failed attempts that are tried again.", ("lane", "error"), registry=registry
        )
        self._dead = Counter(
            "leveret_dead", "Jobs that ended dead on this worker.", ("lane", "error"), registry=registry
        )
        self._losses = Counter("leveret_lease_losses", "Attempts whose job went to another worker.", registry=registry)
        self._percent = Gauge(
            "leveret_job_percent", "Progress of the current job in percent; 0 without one.", registry=registry
        )
        self._fps = Gauge("leveret_encoder_fps", "Frames a second of the current tool.", registry=registry)
        self._speed = Gauge(
            "leveret_encoder_speed", "Seconds of media a second of the current tool.", registry=registry
        )
        self._bytes = Counter(
            "leveret_bytes",
            "Bytes fetched from and published to storages.",
            ("direction", "scheme"),
            registry=registry,
        )
        self._parts = Counter(
            "leveret_parts",
            "Parts of divided jobs: planned, reused (made before), made, copied (made a second time, for the first was "
            "slow), joined.",
            ("event",),
            registry=registry,
        )
        self._exits = Counter(
            "leveret_tool_exits", "Ends of programs, by reason.", ("program", "reason"), registry=registry
        )
        self._tool_seconds = Counter("leveret_tool_seconds", "Wall time of programs.", ("program",), registry=registry)
        self._tool_cpu = Counter("leveret_tool_cpu_seconds", "CPU time of programs.", ("program",), registry=registry)
        self._status = Gauge("leveret_worker_status", "1 for the current status.", ("status",), registry=registry)
        self._unfit = Gauge(
            "leveret_worker_unfit", "1 while it takes no jobs although it is not paused.", registry=registry
        )
        self._info = Info("leveret_worker", "The worker's name, version and lanes.", registry=registry)
        self._cpu = Gauge("leveret_host_cpu_percent", "The host's CPU use.", registry=registry)
        self._ram = Gauge("leveret_host_ram_percent", "The host's memory use.", registry=registry)
        self._disk = Gauge("leveret_scratch_free_bytes", "Space left in scratch.", registry=registry)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def settled(self, settlement: Settlement, seconds: float) -> None:
        """Count a delivery that was settled after `seconds`."""
        lane, module = settlement.lane or OTHER, self._module(settlement.modules)
        repeated = isinstance(settlement.outcome, Completed) and not settlement.ended
        outcome = "repeated" if repeated else type(settlement.outcome).__name__.lower()
        self._jobs.labels(outcome, lane, module).inc()
        match settlement.outcome:
            case Completed() if settlement.ended:
                self._seconds.labels(lane, module).observe(seconds)
            case Retry(_, failure):
                self._retries.labels(lane, failure.error_type).inc()
            case Dead(failure):
                self._dead.labels(lane, failure.error_type).inc()
        if settlement.waited is not None:
            self._waits.labels(lane, settlement.priority).observe(settlement.waited)
        if isinstance(settlement.error, LeaseLost):
            self._losses.inc()
        for gauge in (self._percent, self._fps, self._speed):
            gauge.set(0)

    def _module(self, modules: tuple[str, ...]) -> str:
        names = {name if name in self._modules else OTHER for name in modules}
        return names.pop() if len(names) == 1 else "several" if names else OTHER

    async def progressed(self, _attempt: Attempt, progress: Progress) -> None:
        """Show how the present job goes."""
        self._percent.set(progress.percent or 0)
        self._fps.set(progress.fps or 0)
        self._speed.set(progress.speed or 0)

    def moved(self, direction: str, scheme: str, count: int) -> None:
        """Count bytes; `direction` is `in` or `out`."""
        self._bytes.labels(direction, scheme).inc(count)

    def parts(self, event: str, count: int) -> None:
        """Count parts of divided jobs."""
        self._parts.labels(event).inc(count)

    def tool_ended(self, end: Exit) -> None:
        """Count the end of a program."""
        name = end.command.program if end.command.program in self._programs else OTHER
        reason = str(end.reason).replace(" ", "_")
        if end.reason is Reason.EXITED:
            reason = "ok" if end.ok else "killed" if end.signal is not None else "failed"
        self._exits.labels(name, reason).inc()
        self._tool_seconds.labels(name).inc(end.seconds)
        self._tool_cpu.labels(name).inc(end.cpu_seconds)

    def beat(self, record: WorkerRecord) -> None:
        """Show what the worker reports to the fleet."""
        self._info.info({"worker": record.worker_id, "version": record.version, "lanes": ",".join(record.lanes)})
        for status in get_args(WorkerStatus):
            self._status.labels(status).set(status == record.status)
        self._unfit.set(record.problem is not None)
        self._cpu.set(record.hardware.cpu_percent)
        self._ram.set(record.hardware.ram_percent)
        self._disk.set(record.hardware.disk_free_bytes)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as its page tells of it."""

    name: str
    type: str
    labels: tuple[str, ...]
    documentation: str


def metric_families() -> list[Family]:
    """Return every metric of ours, in the order of their names."""
    own = [value for value in vars(Metrics((), ())).values() if isinstance(value, MetricWrapperBase)]
    found = [Family(one._name, str(one._type), tuple(one._labelnames), one._documentation) for one in own]  # noqa: SLF001 - collect() tells no labels
    return sorted(found, key=lambda family: family.name)


@contextmanager
def metrics_server(registry: CollectorRegistry, address: str) -> Iterator[int]:
    """Yield the port at which the figures are shown for as long as the context lasts; `address` is host:port."""
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:
        raise Misconfigured(f"WORKER_METRICS_ADDRESS: {address} cannot be listened on: {error}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
