"""Leveret beside dramatiq, Celery, taskiq, procrastinate and oban: the same no-op job, one worker each.

    python -m benchmarks fleet [--jobs 1000] [--flat 10000] [--only leveret-sqlite,celery]

The peers are installed into an environment of their own, which is thrown away. Those on RabbitMQ write no rows;
procrastinate and oban are queues in PostgreSQL, and keep a row for each job; Leveret writes all of its own. oban needs
Python 3.12, and g++ and python3-dev to build a library of its own: on an older Python it is left out, which is printed.
Each has one worker that does one job at a time and acknowledges it afterwards; its rate is the median over five full
queues. Prints Markdown, and below the table, of Leveret alone: what two and four workers do on PostgreSQL, how flat a
worker's memory is, and how fair four workers share.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

from benchmarks.candidates import KEEP_ROWS, PEERS, Candidate, ours, peer, peers_environment, plugin, send
from infra.broker import declare
from infra.local import LocalServices
from worker.core.topology import topology

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
QUEUES = 5
"""Full queues whose rates are taken: the speed of a shared machine changes within seconds."""
LATENCIES = 50
PAUSE = 0.1
LONGEST_SECONDS = 120.0
THOUSAND = 1000
COUNT_MS = 250
LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Figures:
    """What one candidate did: seconds (`processor`: of a job), and MB of resident memory, of all its processes."""

    name: str
    start: float
    rate: float
    latency: float
    idle: float
    after: float
    processor: float


def stamps_of(path: Path) -> list[tuple[float, float]]:
    """Return (started, sent) of every job so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted((float(started), float(sent)) for started, sent in (line.split() for line in lines))


def wait_for(path: Path, count: int) -> list[tuple[float, float]]:
    """Return the stamps once there are `count`; they say when it was, so that looking often would only take CPU."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while (found := _lines(path)) < count:
        assert time.monotonic() < deadline, f"{found} of {count} jobs"
        time.sleep(LOOK_SECONDS)
    return stamps_of(path)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def resident(process: subprocess.Popen[bytes]) -> float:
    """Return MB of memory of a process and all below it."""
    parent = psutil.Process(process.pid)
    return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True))) / 1e6


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time of a process and all below it, which other programs' work does not lengthen by much."""
    parent = psutil.Process(process.pid)
    times = [one.cpu_times() for one in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


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
    done, rates, costs = 2 + LATENCIES, [], []
    for _ in range(QUEUES):
        candidate.publish(jobs, 0)
        process, _ = started(candidate)
        begun_with = len(wait_for(candidate.stamps, done + max(1, jobs // 10))) - done
        before = processor_seconds(process)
        stamps = [at for at, _ in wait_for(candidate.stamps, done + jobs)[done:]]
        costs.append((processor_seconds(process) - before) / max(1, jobs - begun_with))
        done += jobs
        rates.append((jobs - 1) / (stamps[-1] - stamps[0]))
        time.sleep(1)
        after = resident(process)
        ended(process)
    each = ", ".join(f"{rate:.0f}" for rate in sorted(rates))
    print(f"{candidate.name}: jobs/s of each queue: {each}", file=sys.stderr, flush=True)
    rate, wait, cost = (statistics.median(each) for each in (rates, waits, costs))
    return Figures(candidate.name, start, rate, wait, idle, after, cost)


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
    parser.add_argument("--only", default=",".join(("leveret-sqlite", "leveret-postgresql", *PEERS)))
    parser.add_argument("--flat", type=int, default=10_000, help="jobs between which Leveret's memory is compared")
    parser.add_argument("--peers", type=Path, help="the bin folder of an environment that has the peers already")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="leveret-bench-") as temporary:
        folder = Path(temporary)
        counting = (f"collect_statistics_interval = {COUNT_MS}",)
        services = LocalServices(folder / "services", rabbitmq_config=counting)
        services.up(("rabbitmq", "postgres") if {"leveret-postgresql", *KEEP_ROWS} & set(names) else ("rabbitmq",))
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
    postgresql = services.environment("postgres").get("WORKER_DATABASE_URL", "")
    databases = {"leveret-sqlite": f"sqlite:///{folder}/leveret.db", "leveret-postgresql": postgresql}
    print(
        "| | start to consuming, s | jobs/s | processor, ms a job | publish to start, p50 ms | idle, MB | after, MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in names:
        if name in PEERS and not (programs / name).exists():
            print(f"| {name} | not for this Python ({sys.version_info.major}.{sys.version_info.minor}) | | | | | |")
            continue
        candidate = (
            ours(name, url, databases[name], folder, modules)
            if name in databases
            else peer(name, url, postgresql, folder, programs)
        )
        got = measure(candidate, options.jobs)
        cells = (
            name,
            f"{got.start:.2f}",
            f"{got.rate:.0f}",
            f"{got.processor * 1000:.1f}",
            f"{got.latency * 1000:.1f}",
        )
        print(f"| {' | '.join(cells)} | {got.idle:.0f} | {got.after:.0f} |", flush=True)
    if "leveret-postgresql" in names:
        candidate = ours("leveret-postgresql", url, postgresql, folder, modules)
        print("\n" + together(candidate, options.jobs, (1, 2, 4)), flush=True)
    if "leveret-sqlite" in names:
        candidate = ours("leveret-sqlite", url, databases["leveret-sqlite"], folder, modules)
        print("\n" + flat(candidate, options.flat), flush=True)
        print("\n" + fair(candidate, url, folder, services.environment()["RABBITMQ_MANAGEMENT_URL"]))


def together(candidate: Candidate, jobs: int, counts: Sequence[int]) -> str:
    """Return the rate of several workers on one queue and one database, for each count of workers."""
    rates = []
    for count in counts:
        before = len(stamps_of(candidate.stamps))
        candidate.publish(jobs, 0)
        processes = [started(_named(candidate, number))[0] for number in range(count)]
        try:
            stamps = [at for at, _ in wait_for(candidate.stamps, before + jobs)[before:]]
        finally:
            for process in processes:
                ended(process)
        # The first tenth is left out: workers start one after another.
        first = jobs // 10
        rates.append((jobs - 1 - first) / (stamps[-1] - stamps[first]))
    each = ", ".join(f"{count}: {rate:.0f}" for count, rate in zip(counts, rates, strict=True))
    return f"Jobs/s of {candidate.name} by number of workers: {each}."


def _named(candidate: Candidate, number: int) -> Candidate:
    environment = {**candidate.environment, "WORKER_ID": f"together-{number}"}
    return Candidate(candidate.name, candidate.argv, environment, candidate.publish, candidate.stamps)


if __name__ == "__main__":
    main()
