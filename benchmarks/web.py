"""The page's budgets: the home and the list of jobs over 100,000 rows, 200 event streams, a cold start, idle memory.

python -m benchmarks web [--jobs 100000] [--requests 100] [--streams 200] [--submits 200] [--starts 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pika
import psutil

from infra.local import LocalServices
from infra.migrations import upgrade
from infra.provision import provision
from infra.settings import ProvisionSettings
from worker.adapters.sql import SqlRepository
from worker.core.record import Hardware, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
LISTS = {
    "jobs": "/jobs",
    "jobs, one state": "/jobs?state=dead",
    "jobs, one lane and module": "/jobs?lane=nvenc&module=probe",
    "jobs, text of one": "/jobs?text=title-77777",
    "jobs, text of none": "/jobs?text=nowhere-to-be-found",
    "jobs, one worker": "/jobs?worker=render-3",
    "API, jobs": "/api/v1/jobs",
}
WATCH_SECONDS = 10.0
MESSAGE = b'{"job_title": "One", "tasks": [{"module": "probe", "data": {"source": "nas://film.mkv"}}]}'


def main(options: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks web")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--submits", type=int, default=200)
    parser.add_argument("--starts", type=int, default=5)
    chosen = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="leveret-bench-web-") as folder:
        measure(Path(folder), chosen)
    with tempfile.TemporaryDirectory(prefix="leveret-bench-submit-") as folder:
        submit(Path(folder), chosen.submits)


def submit(folder: Path, count: int) -> None:
    """Print how long a job takes to submit over the API, and how long its message does when it is published."""
    services = LocalServices(folder / "services")
    try:
        services.up(("rabbitmq",))
        url = f"sqlite:///{folder / 'jobs.db'}"
        broker = services.environment("rabbitmq")["WORKER_BROKER_URL"]
        settings = ProvisionSettings.read({"WORKER_DATABASE_URL": url, "WORKER_BROKER_URL": broker})
        assert list(provision(settings)), "nothing is provisioned"
        with serving(folder, url, broker) as (address, _, _), httpx.Client(base_url=address, timeout=30) as client:
            api = per_call(lambda: client.post("/api/v1/jobs", content=MESSAGE).raise_for_status(), count)
        with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            durable = pika.BasicProperties(delivery_mode=2, content_type="application/json")
            amqp = per_call(lambda: channel.basic_publish("media.jobs", "media.cpu.low", MESSAGE, durable, True), count)
    finally:
        services.down(purge=True)
    print(
        f"\na job over the API: {api * 1e3:.1f} ms, checked, stored and confirmed; its message alone, published with a"
        f" confirm: {amqp * 1e3:.1f} ms; ratio {api / amqp:.1f}"
    )


def per_call(call: Callable[[], object], count: int) -> float:
    """Return the median seconds of a call."""
    call()
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def measure(folder: Path, chosen: argparse.Namespace) -> None:
    url = f"sqlite:///{folder / 'jobs.db'}"
    upgrade(url)
    fill(folder / "jobs.db", chosen.jobs)
    asyncio.run(beat(url))
    starts(folder, url, chosen.starts)
    with serving(folder, url) as (address, process, _):
        time.sleep(1)
        memory = process.memory_info().rss / 1e6
        print(f"\n{chosen.jobs} jobs, 10 workers, SQLite, {os.cpu_count()} cores\n")
        print("| what | p50 | p95 | processor | bytes |\n|---|---:|---:|---:|---:|")
        with httpx.Client(base_url=address, timeout=30) as client:
            for name, path in {"now": "/", **LISTS}.items():
                used = sum(process.cpu_times()[:2])
                times, size = timed(client, path, chosen.requests)
                used = (sum(process.cpu_times()[:2]) - used) / (chosen.requests + 1)
                p95 = statistics.quantiles(times, n=20)[-1]
                row = (statistics.median(times), p95, used)
                print(f"| {name} | {' | '.join(f'{seconds * 1e3:.0f} ms' for seconds in row)} | {size} |")
        later = process.memory_info().rss / 1e6
        print(f"\nidle {memory:.0f} MB; after the requests {later:.0f} MB")
        asyncio.run(watched(address, process, url, chosen.streams))


def fill(path: Path, jobs: int) -> None:
    """Insert rows as workers would have left them, fast: only what screens read is true."""
    document = json.dumps({"tasks": [{"module": "probe", "data": {"source": "nas://film.mkv"}}]})
    states = ("completed",) * 90 + ("dead",) * 5 + ("cancelled",) * 3 + ("queued",) * 2
    lanes = ("cpu", "cpu", "cpu", "nvenc", "visualize")
    now = time.time()
    with contextlib.closing(sqlite3.connect(path)) as rows:
        columns = [row[1] for row in rows.execute("PRAGMA table_info(jobs)")]
        base = dict.fromkeys(columns) | {
            "round": 1, "epoch": 1, "failures": 0, "crashes": 0, "priority": "normal", "dialect": "canonical",
            "digest": "x", "document": document, "cancel_requested": 0, "facts": "{}",
            "metrics": '{"total_seconds": 12.5}', "pending_deletions": "[]", "refused_by": "[]",
            "modules": "\nprobe\n", "error": "it failed",
        }  # fmt: skip
        statement = f"INSERT INTO jobs ({','.join(columns)}) VALUES ({','.join(':' + name for name in columns)})"  # noqa: S608 - our own columns
        jobs_made = (
            base | {
                "job_id": f"job-{n:06}", "title": f"title-{n}", "state": states[n % 100], "lane": lanes[n % 5],
                "created_at": now - n, "finished_at": now - n, "searched": f"job-{n:06}\ntitle-{n}",
            }
            for n in range(jobs)
        )  # fmt: skip
        with rows:
            rows.executemany(statement, jobs_made)
            names = [row[1] for row in rows.execute("PRAGMA table_info(attempts)")]
            tried = dict.fromkeys(names) | {"epoch": 1, "round": 1, "number": 1, "token": "t", "announced": "[]"}
            insert = f"INSERT INTO attempts ({','.join(names)}) VALUES ({','.join(':' + name for name in names)})"  # noqa: S608 - as above
            rows.executemany(
                insert,
                (
                    tried | {"job_id": f"job-{n:06}", "worker": f"render-{n % 10}", "started_at": now - n}
                    for n in range(jobs)
                    if states[n % 100] != "queued"
                ),
            )
        rows.execute("ANALYZE")


async def beat(url: str) -> None:
    rows = SqlRepository(url)
    for number in range(10):
        await rows.beat(
            WorkerRecord(
                worker_id=f"render-{number}", hostname="host", pid=number, version="1", status="idle", lanes=["cpu"],
                hardware=Hardware(cpu_percent=50, ram_percent=40, disk_free_bytes=1 << 34, cores=8),
            )
        )  # fmt: skip
    await rows.close()


@contextlib.contextmanager
def serving(folder: Path, url: str, broker: str = "amqp://127.0.0.1:1/") -> Iterator[tuple[str, psutil.Process, float]]:
    """Yield a server's address, its process, and how long it took to answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "nas").mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_"))} | {
        "PYTHONPATH": str(ROOT), "WORKER_DATABASE_URL": url, "WORKER_SERVE_ADDRESS": f"127.0.0.1:{port}",
        "WORKER_STORAGE_URL": f"file://{folder}/out/", "WORKER_NAS_ROOT": str(folder / "nas"),
        "WORKER_BROKER_URL": broker, "WORKER_SERVE_REQUESTS_PER_SECOND": "100000",
        "WORKER_HEARTBEAT_SECONDS": "3000",
    }  # fmt: skip
    begun = time.perf_counter()
    with subprocess.Popen(
        (sys.executable, "-m", "worker", "serve"),
        env=compiled(environment, folder),
        cwd=folder,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/healthz")
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid), time.perf_counter() - begun
        finally:
            process.terminate()


def wait_for(address: str) -> None:
    """Return once an address answers."""
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(address, timeout=30).status_code == 200:
                return
        time.sleep(0.02)


def compiled(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Return an environment in which Python keeps what it compiles, as installed programs are."""
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder.parent / "leveret-bench-compiled")}


def starts(folder: Path, url: str, count: int) -> None:
    """Print how long the server takes to answer from nothing, beside the import of FastAPI alone."""
    answers, homes, used, alone = [], [], [], []
    for _ in range(count + 1):
        begun = time.perf_counter()
        with serving(folder, url) as (address, process, cold):
            used.append(sum(process.cpu_times()[:2]))
            wait_for(f"{address}/")
            homes.append(time.perf_counter() - begun)
            answers.append(cold)
        begun = time.perf_counter()
        imported = (sys.executable, "-c", "import fastapi")
        subprocess.run(imported, env=compiled(dict(os.environ), folder), check=True)
        alone.append(time.perf_counter() - begun)
    # The first compiles what was never run.
    answer, home, processor, fastapi = (statistics.median(found[1:]) for found in (answers, homes, used, alone))
    print(
        f"\ncold start: answers after {answer:.2f} s ({processor:.2f} s of processor), shows Now after {home:.2f} s;"
        f" `python -c 'import fastapi'` takes {fastapi:.2f} s: ratio {answer / fastapi:.1f}"
    )


def timed(client: httpx.Client, path: str, requests: int) -> tuple[list[float], int]:
    client.get(path)
    times, size = [], 0
    for _ in range(requests):
        begun = time.perf_counter()
        answer = client.get(path)
        times.append(time.perf_counter() - begun)
        assert answer.status_code == 200, answer.text[:300]
        size = len(answer.content)
    return times, size


async def watched(address: str, process: psutil.Process, url: str, streams: int) -> None:
    """Print what it takes to tell so many streams of a change a second."""
    limits = httpx.Limits(max_connections=streams)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        changes = [0] * streams

        async def listen(number: int) -> None:
            async with client.stream("GET", "/api/v1/events") as stream:
                async for line in stream.aiter_lines():
                    changes[number] += line.startswith("event: change")

        listening = [asyncio.create_task(listen(number)) for number in range(streams)]
        await asyncio.sleep(3)
        memory, used, begun = process.memory_info().rss, sum(process.cpu_times()[:2]), time.perf_counter()
        while time.perf_counter() - begun < WATCH_SECONDS:
            await asyncio.gather(beat(url), asyncio.sleep(1))
        seconds = time.perf_counter() - begun
        core = (sum(process.cpu_times()[:2]) - used) / seconds
        grown = (process.memory_info().rss - memory) / 1e6
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    print(
        f"{streams} event streams, a change a second for {seconds:.0f} s: {100 * core:.0f} % of a core,"
        f" {grown:+.1f} MB; each changes of {min(changes)} to {max(changes)} changes"
    )
