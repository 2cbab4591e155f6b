"""Leveret beside dramatiq, Celery and taskiq: the same no-op job, one worker each, on one private RabbitMQ.

    python -m benchmarks fleet [--jobs 1000] [--flat 10000] [--only leveret-sqlite,celery]

The peers are installed into an environment of their own, which is thrown away. They write no rows; Leveret writes
all of its own. Each has one worker that does one job at a time and acknowledges it afterwards; its rate is the median
over five full queues. Prints Markdown, and below the table, of Leveret alone: how flat its memory is, and how fair
four workers share.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pika
import psutil

from infra.broker import declare
from infra.local import LocalServices
from infra.migrations import upgrade
from worker.core.routing import JOBS, topology

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).resolve().parent
QUEUES = 5
"""Full queues whose rates are taken: the speed of a shared machine changes within seconds."""
LATENCIES = 50
PAUSE = 0.1
PATIENCE = 120.0
THOUSAND = 1000
COUNT_MS = 250


@dataclass(frozen=True)
class Candidate:
    """How a worker is started and fed."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    publish: Callable[[int, float], None]
    stamps: Path


@dataclass(frozen=True)
class Figures:
    """What one candidate did; seconds and MB of resident memory, its whole process tree."""

    name: str
    start: float
    rate: float
    latency: float
    idle: float
    after: float


def stamps_of(path: Path) -> list[tuple[float, float]]:
    """Return (started, sent) of every job so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted((float(started), float(sent)) for started, sent in (line.split() for line in lines))


def wait_for(path: Path, count: int) -> list[tuple[float, float]]:
    deadline = time.monotonic() + PATIENCE
    while len(found := stamps_of(path)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} jobs"
        time.sleep(0.02)
    return found


def resident(process: subprocess.Popen[bytes]) -> float:
    """Return MB of memory of a process and all below it."""
    parent = psutil.Process(process.pid)
    return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True))) / 1e6


def started(candidate: Candidate) -> tuple[subprocess.Popen[bytes], float]:
    begun = time.time()
    log = candidate.stamps.with_suffix(".log").open("ab")
    return subprocess.Popen(
        candidate.argv, env=dict(candidate.environment), cwd=HERE, stdout=log, stderr=log, start_new_session=True
    ), begun


def ended(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(candidate: Candidate, jobs: int) -> Figures:
    """Return the figures of one candidate: its worker starts anew for each full queue, and the rate is the median."""
    candidate.publish(1, 0)
    process, _ = started(candidate)  # the first start proves, compiles and declares
    wait_for(candidate.stamps, 1)
    ended(process)
    candidate.publish(1, 0)
    process, begun = started(candidate)
    start = wait_for(candidate.stamps, 2)[1][0] - begun
    time.sleep(2)
    idle = resident(process)
    candidate.publish(LATENCIES, PAUSE)
    waits = [at - sent for at, sent in wait_for(candidate.stamps, 2 + LATENCIES)[2:]]
    ended(process)
    done, rates = 2 + LATENCIES, []
    for _ in range(QUEUES):
        candidate.publish(jobs, 0)
        process, _ = started(candidate)
        stamps = [at for at, _ in wait_for(candidate.stamps, done + jobs)[done:]]
        done += jobs
        rates.append((jobs - 1) / (stamps[-1] - stamps[0]))
        time.sleep(1)
        after = resident(process)
        ended(process)
    each = ", ".join(f"{rate:.0f}" for rate in sorted(rates))
    print(f"{candidate.name}: jobs/s of each queue: {each}", file=sys.stderr, flush=True)
    return Figures(candidate.name, start, statistics.median(rates), statistics.median(waits), idle, after)


# ---------------------------------------------------------------- ours


def plugin(folder: Path) -> Path:
    """Return a folder that makes the module `noop` known."""
    information = folder / "plugin" / "noop_task-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: noop-task\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[leveret.tasks]\nnoop = noop_task:NoopTask\n")
    return information.parent


def send(url: str, count: int, pause: float, seconds: float = 0.0) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        # A busy quorum queue may lose what a channel without confirms had on its way when it closed.
        channel.confirm_delivery()
        for _ in range(count):
            body = {
                "job_id": str(uuid.uuid4()),
                "tasks": [{"module": "noop", "data": {"sent": time.time(), "seconds": seconds}}],
            }
            properties = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish(JOBS, "cpu.normal", json.dumps(body).encode(), properties)
            connection.sleep(pause) if pause else None


def ours(name: str, broker_url: str, database_url: str, folder: Path, modules: Path) -> Candidate:
    stamps = folder / f"{name}.txt"
    upgrade(database_url)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE), str(modules))),
        "STAMPS": str(stamps),
        "WORKER_BROKER_URL": broker_url,
        "WORKER_DATABASE_URL": database_url,
        "WORKER_STORAGE_URL": f"file://{folder}",
        "WORKER_SCRATCH": str(folder / "scratch"),
        "WORKER_LOG_LEVEL": "warning",
    }
    argv = (sys.executable, "-m", "worker", "run", "--lanes", "cpu")
    return Candidate(name, argv, environment, lambda count, pause: send(broker_url, count, pause), stamps)


# ---------------------------------------------------------------- peers


def peers_environment(folder: Path) -> Path:
    """Return the folder of the programs of an environment with the peers in it."""
    venv.create(folder, with_pip=True)
    wanted = HERE / "requirements-peers.txt"
    subprocess.run((folder / "bin" / "pip", "install", "-q", "-r", wanted), check=True)
    return folder / "bin"


def peer(name: str, broker_url: str, folder: Path, programs: Path) -> Candidate:
    stamps = folder / f"{name}.txt"
    arguments = {
        "dramatiq": ("peer_tasks", "--processes", "1", "--threads", "1"),
        "celery": ("-A", "peer_tasks", "worker", "-c", "1", "--without-gossip", "--without-mingle"),
        "taskiq": ("worker", "peer_tasks:app", "--workers", "1", "--max-async-tasks", "1"),
    }[name]
    environment = os.environ | {"PEER": name, "BROKER_URL": broker_url, "STAMPS": str(stamps)}

    def publish(count: int, pause: float) -> None:
        argv = (programs / "python", HERE / "peer_tasks.py", str(count), str(pause))
        subprocess.run(argv, env=environment, check=True)

    return Candidate(name, (str(programs / name), *arguments), environment, publish, stamps)


# ---------------------------------------------------------------- fair dispatch


class Unacknowledged(threading.Thread):
    """Asks the management API, as often as the broker counts, how many messages each channel holds."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}api/channels?columns=messages_unacknowledged"
        self._ended = threading.Event()
        self.samples: list[list[int]] = []

    def run(self) -> None:
        """Sample until ended."""
        while not self._ended.wait(COUNT_MS / 1000):
            channels = httpx.get(self._url).json()
            self.samples.append([channel.get("messages_unacknowledged", 0) for channel in channels])

    def end(self) -> None:
        """Take no more samples."""
        self._ended.set()
        self.join()


def flat(candidate: Candidate, jobs: int) -> str:
    """Return how a worker's memory grows between its first thousand jobs and its last."""
    before = len(stamps_of(candidate.stamps))
    process, _ = started(candidate)
    sizes = []
    try:
        for done in range(0, jobs, THOUSAND):
            candidate.publish(THOUSAND, 0)
            wait_for(candidate.stamps, before + done + THOUSAND)
            sizes.append(resident(process))
    finally:
        ended(process)
    return f"{jobs} jobs through one worker: {sizes[0]:.1f} MB after the first 1000, {sizes[-1]:.1f} MB after the last."


def fair(candidate: Candidate, broker_url: str, folder: Path, management_url: str) -> str:
    """Return what four workers make of one long job and forty short ones; AssertionError if one waits for the long."""
    watch = Unacknowledged(management_url)
    processes = [
        started(
            Candidate(
                candidate.name,
                candidate.argv,
                {**candidate.environment, "WORKER_ID": f"fair-{number}"},
                candidate.publish,
                folder / f"fair-{number}.txt",
            )
        )[0]
        for number in range(4)
    ]
    before = len(stamps_of(candidate.stamps))
    try:
        send(broker_url, 4, 0)
        wait_for(candidate.stamps, before + 4)
        time.sleep(3)
        watch.start()
        send(broker_url, 1, 0, seconds=8.0)
        begun = time.time()
        send(broker_url, 40, 0, seconds=0.3)
        short = [at for at, _ in wait_for(candidate.stamps, before + 44)][before + 4 :]
        last = max(short) - begun
        wait_for(candidate.stamps, before + 45)
        assert last < 8, f"a short job waited {last:.1f} s, behind the long one"
        watch.end()
        most = max(max(sample, default=0) for sample in watch.samples)
        busiest = max(sum(sample) for sample in watch.samples)
        assert most == 1, f"a worker held {most} messages"
    finally:
        for process in processes:
            ended(process)
    return (
        f"4 workers, one job of 8 s and 40 of 0.3 s: the last short job began {last:.1f} s after the first was sent; at"
        f" {len(watch.samples)} samples no worker held more than {most} unacknowledged message, and all together"
        f" at most {busiest}."
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--only", default="leveret-sqlite,leveret-postgresql,dramatiq,celery,taskiq")
    parser.add_argument("--flat", type=int, default=10_000, help="jobs between which Leveret's memory is compared")
    parser.add_argument("--peers", type=Path, help="the bin folder of an environment that has the peers already")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="leveret-bench-") as temporary:
        folder = Path(temporary)
        counting = (f"collect_statistics_interval = {COUNT_MS}",)
        services = LocalServices(folder / "services", rabbitmq_config=counting)
        services.up(("rabbitmq", "postgres") if "leveret-postgresql" in names else ("rabbitmq",))
        try:
            run(folder, services, names, options)
        finally:
            services.down(purge=True)


def run(folder: Path, services: LocalServices, names: list[str], options: argparse.Namespace) -> None:
    url = services.environment()["WORKER_BROKER_URL"]
    declare(url, topology())
    peers = [name for name in names if not name.startswith("leveret")]
    programs = (options.peers or peers_environment(folder / "peers")) if peers else folder
    modules = plugin(folder)
    databases = {"leveret-sqlite": f"sqlite:///{folder}/leveret.db"}
    if "leveret-postgresql" in names:
        databases["leveret-postgresql"] = services.environment("postgres")["WORKER_DATABASE_URL"]
    print("| | start to consuming, s | jobs/s | publish to start, p50 ms | idle, MB | after the jobs, MB |")
    print("|---|---|---|---|---|---|")
    for name in names:
        candidate = (
            ours(name, url, databases[name], folder, modules)
            if name in databases
            else peer(name, url, folder, programs)
        )
        got = measure(candidate, options.jobs)
        cells = (name, f"{got.start:.2f}", f"{got.rate:.0f}", f"{got.latency * 1000:.1f}")
        print(f"| {' | '.join(cells)} | {got.idle:.0f} | {got.after:.0f} |", flush=True)
    if "leveret-sqlite" in names:
        candidate = ours("leveret-sqlite", url, databases["leveret-sqlite"], folder, modules)
        print("\n" + flat(candidate, options.flat), flush=True)
        print("\n" + fair(candidate, url, folder, services.environment()["RABBITMQ_MANAGEMENT_URL"]))


if __name__ == "__main__":
    main()
