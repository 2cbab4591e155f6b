"""What a campaign happens in: private services behind proxies, two small disks, workers that are started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

import boto3
import httpx

from infra.local import LocalServices
from infra.local.ports import free_port
from infra.provision import provision
from infra.settings import ProvisionSettings

from .proxy import Proxy

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from types_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LEASE_SECONDS = 4.0
DELAYS = "0.3,0.6,1.2"
DISK_MIB = 48
GRACES = ("20", "0.2", "2")
"""Seconds that each worker may go on after SIGTERM: enough for every job, for none, for some."""
FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")
"""What lies to a program about the time; its folder is named after the architecture. Empty where it is missing."""
ENTRY_POINTS = "[leveret.tasks]\nchaos = chaos_task:ChaosTask\n"
# A delivery that is not settled within 5 s comes back: jobs and outages outlast that. How often the broker looks
# has no name in rabbitmq.conf.
IMPATIENT = ("consumer_timeout = 5000",)
LOOKS_OFTEN = "[{rabbit, [{channel_tick_interval, 1000}]}].\n"


@dataclass
class WorkerProcess:
    """A worker that a supervisor keeps alive, as systemd or Kubernetes would."""

    name: str
    grace: str
    metrics: str
    clock: str = ""
    process: Process | None = None
    starts: int = 0

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return whether somebody was there to get it."""
        with contextlib.suppress(ProcessLookupError):
            if self.process is not None and self.process.returncode is None:
                self.process.send_signal(number)
                return True
        return False


@dataclass
class Kill:
    """A SIGKILL: of whom, and when on this machine's clock."""

    worker: str
    at: float


@dataclass
class World:
    """Everything that a campaign may break, and how to make it whole."""

    folder: Path
    count: int = 3
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    troubles: list[tuple[float, float]] = field(default_factory=list)
    broker_log: str = ""
    has_disks: bool = False
    wrong_clock: bool = True
    impatient: bool = True
    _closing: bool = False
    _supervisors: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        limits = IMPATIENT if self.impatient else ()
        self.services = LocalServices(self.folder / "services", rabbitmq_config=limits)
        self.scratch = self.folder / "scratch-disk" / "scratch"
        self.nas = self.folder / "nas-disk" / "nas"
        self.trap = self.folder / "trap"

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._close()

    async def _open(self) -> None:
        await self._start_services()
        for name, variable in (
            ("broker", "WORKER_BROKER_URL"),
            ("database", "WORKER_DATABASE_URL"),
            ("s3", "AWS_ENDPOINT_URL_S3"),
        ):
            port = urlsplit(self.services.environment().get(variable, "")).port
            if port is not None:
                self.proxies[name] = Proxy(port)
                await self.proxies[name].start()
        self._make_disks()
        self._install_plugin()
        for index in range(self.count):
            name = f"chaos-{index + 1}"
            clock = FAKETIME if index == 2 and self.wrong_clock else ""
            ports = frozenset(int(worker.metrics.rpartition(":")[2]) for worker in self.workers)
            metrics = f"127.0.0.1:{free_port(ports)}"
            self.workers.append(WorkerProcess(name, GRACES[index % 3], metrics, clock))
        self._supervisors = [asyncio.create_task(self._supervise(worker)) for worker in self.workers]

    async def _start_services(self) -> None:
        """Start what the workers need; `real` leads to it."""
        node = self.folder / "services" / "rabbitmq"
        node.mkdir(parents=True)
        (node / "no-advanced.config").write_text(LOOKS_OFTEN)
        await asyncio.to_thread(self.services.up, ("rabbitmq", "s3", "postgres"))
        self.real = self.services.environment()
        variables = self.real | {"WORKER_RETRY_DELAYS": DELAYS}
        await asyncio.to_thread(lambda: list(provision(ProvisionSettings.read(variables))))

    def s3(self) -> S3Client:
        """Return a client that leads past the proxy."""
        real = self.real
        login = {name: real[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}
        return boto3.client("s3", endpoint_url=real["AWS_ENDPOINT_URL_S3"], region_name=real["AWS_REGION"], **login)

    def hear_broker(self) -> None:
        """Keep what the broker has logged: its next start begins the log anew."""
        self.broker_log += self.services.log("rabbitmq").read_text(errors="replace")

    def broker_url(self, worker: WorkerProcess) -> str:
        """Return what a worker's environment says of the broker."""
        return _through(self.real["WORKER_BROKER_URL"], self.proxies["broker"].port)

    def _make_disks(self) -> None:
        for disk in (self.scratch.parent, self.nas.parent):
            disk.mkdir()
            if os.geteuid() == 0:
                argv = ("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "leveret-chaos", str(disk))
                self.has_disks = subprocess.run(argv, check=False, capture_output=True).returncode == 0
        self.scratch.mkdir()
        (self.nas / "in").mkdir(parents=True)
        (self.nas / "out").mkdir()

    def _remove_disks(self) -> None:
        if self.has_disks:
            for disk in (self.scratch.parent, self.nas.parent):
                subprocess.run(("umount", "-l", str(disk)), check=False)

    def _install_plugin(self) -> None:
        information = self.folder / "plugins" / "chaos_task-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-task\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(ENTRY_POINTS)
        shutil.copy(HERE / "chaos_task.py", information.parent)

    def environment(self, worker: WorkerProcess) -> dict[str, str]:
        """Return the environment of a worker: all its connections lead through the proxies."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        aws = {name: value for name, value in self.real.items() if name.startswith("AWS_")}
        variables = (
            kept
            | aws
            | {
                "PYTHONPATH": os.pathsep.join((str(self.folder / "plugins"), str(ROOT))),
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.proxies['s3'].port}",
                "WORKER_BROKER_URL": self.broker_url(worker),
                "WORKER_DATABASE_URL": _through(self.real["WORKER_DATABASE_URL"], self.proxies["database"].port),
                "WORKER_STORAGE_URL": "nas://out/",
                "WORKER_NAS_ROOT": str(self.nas),
                "WORKER_ROOTS": "s3://media/chaos,s3://media/sources",
                "WORKER_SCRATCH": str(self.scratch),
                "WORKER_SCRATCH_FREE_BYTES": str(4 << 20),
                "WORKER_RETRY_DELAYS": DELAYS,
                "WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
                "WORKER_PUBLISH_LEASE_SECONDS": str(LEASE_SECONDS),
                "WORKER_HEARTBEAT_SECONDS": "1",
                "WORKER_GRACE_SECONDS": worker.grace,
                "WORKER_LANES": "cpu",
                "WORKER_ID": worker.name,
                "WORKER_METRICS_ADDRESS": worker.metrics,
                "WORKER_LOG_FORMAT": "json",
            }
        )
        variables |= self.settings
        if worker.clock:
            # S3 itself refuses who is more than 15 minutes off: then the worker must rest, and charge nobody.
            off = "+1h" if worker.starts % 3 == 0 else "-14m"
            variables |= {"LD_PRELOAD": worker.clock, "FAKETIME": off, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return variables

    def _log(self, worker: WorkerProcess) -> IO[bytes]:
        return (self.folder / f"{worker.name}.log").open("ab")

    async def _supervise(self, worker: WorkerProcess) -> None:
        while not self._closing:
            worker.starts += 1
            with self._log(worker) as log:
                worker.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, str(HERE / "worker_main.py"), str(self.trap)),
                    env=self.environment(worker), cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            code = await worker.process.wait()
            if code == -signal.SIGKILL:
                self.kills.append(Kill(worker.name, time.time()))
            await asyncio.sleep(0.5)

    async def calm(self) -> None:
        """Make everything whole, so that what is left must end by itself."""
        for proxy in self.proxies.values():
            proxy.delay, proxy.answer, proxy.short, proxy.cut_at, proxy.swallow_at = 0.0, 0, None, None, None
        self.trap.unlink(missing_ok=True)
        for worker in self.workers:
            worker.send(signal.SIGCONT)

    async def metrics(self) -> dict[str, bytes]:
        """Return what each worker shows to Prometheus; a worker that is just starting shows it soon."""
        found = {}
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(60):
            for worker in self.workers:
                while f"the metrics of {worker.name}" not in found:
                    with contextlib.suppress(httpx.TransportError):
                        answer = await client.get(f"http://{worker.metrics}/metrics")
                        found[f"the metrics of {worker.name}"] = answer.content
                    await asyncio.sleep(0.1)
        return found

    async def stop_workers(self, seconds: float = 90) -> list[str]:
        """End the workers in order; return the names of those that did not within the time, and were killed.

        A call to S3 over a connection that is half-open ends after the SDK's own 60 s.
        """
        self._closing = True
        for worker in self.workers:
            worker.send(signal.SIGTERM)
        _, pending = await asyncio.wait(self._supervisors, timeout=seconds)
        stuck = [worker.name for worker in self.workers if worker.process and worker.process.returncode is None]
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGKILL):
            for worker in self.workers:
                worker.send(number)
            await asyncio.sleep(0.5 if stuck else 0.0)
        for supervisor in pending:
            supervisor.cancel()
        return stuck

    async def one_last_worker(self, seconds: float = 60) -> None:
        """Let a worker start, clean what the dead left, drain the queues, and end; TimeoutError when it does not."""
        await self._nothing_is_held()
        worker = self.workers[0]
        with self._log(worker) as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker", "--drain"),
                env=self.environment(worker), cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    async def _nothing_is_held(self, seconds: float = 120) -> None:
        """Return once the broker has back what ended workers held: of a half-open connection it hears by heartbeats."""
        async with asyncio.timeout(seconds):
            while sum(await asyncio.to_thread(self._held)):
                await asyncio.sleep(1)

    def _held(self) -> list[int]:
        # Of its channels: what a queue says of this is seconds old.
        words = ("list_channels", "--quiet", "messages_unacknowledged")
        return [int(word) for word in self.services.rabbitmqctl(*words).split() if word.isdecimal()]

    async def _close(self) -> None:
        self._closing = True
        for supervisor in self._supervisors:
            supervisor.cancel()
        for worker in self.workers:
            worker.send(signal.SIGCONT)
            worker.send(signal.SIGKILL)
            if worker.process is not None:
                await worker.process.wait()
        for proxy in self.proxies.values():
            await proxy.stop()
        for name in ("rabbitmq", "s3", "postgres"):
            if self.services.log(name).is_file():
                shutil.copy(self.services.log(name), self.folder)
        await asyncio.to_thread(self.services.down, purge=True)
        await asyncio.to_thread(self._remove_disks)


def _through(url: str, port: int) -> str:
    """Return `url` with another port on loopback."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
