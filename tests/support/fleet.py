"""Worker processes on one host, the real broker, and what can be seen of them from outside."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import httpx
import psutil

from worker.adapters.sql import SqlRepository
from worker.core.routing import JOBS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from worker.core.record import JobRecord, Wanted, WorkerRecord

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_", "RABBITMQ_"))}
BEAT = 1.0
RETRY = 2.0
CANCEL_SECONDS = 7.0
LONG = {
    "input_options": {"stream_loop": -1, "t": 3600},
    "output_maps": [{"specifier": "v", "stream": 0, "options": {"codec": "libx264", "preset": "veryslow"}}],
}
SHORT = {"output_maps": [{"specifier": "v", "stream": 0, "options": {"codec": "h264", "preset": "ultrafast"}}]}


class Fleet:
    """Workers on this host, each a process, and what can be seen of them from outside."""

    def __init__(self, folder: Path, services: dict[str, str]) -> None:
        self.folder = folder
        self.database_url = f"sqlite:///{folder / 'fleet.db'}"
        self.management = services["RABBITMQ_MANAGEMENT_URL"]
        self.broker = services["WORKER_BROKER_URL"]
        self.storage, self.scratch = folder / "storage", folder / "scratch"
        self.storage.mkdir()
        self.rows = SqlRepository(self.database_url)
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.environment = CLEAN | {
            "PYTHONPATH": str(ROOT),
            "WORKER_BROKER_URL": self.broker,
            "WORKER_DATABASE_URL": self.database_url,
            "WORKER_STORAGE_URL": f"file://{self.storage}/",
            "WORKER_SCRATCH": str(self.scratch),
            "WORKER_SCRATCH_FREE_BYTES": "1",
            "WORKER_HEARTBEAT_SECONDS": str(BEAT),
            "WORKER_RETRY_DELAYS": str(RETRY),
        }

    def begin(self, worker_id: str, **settings: str) -> subprocess.Popen[str]:
        environment = self.environment | {"WORKER_ID": worker_id} | settings
        with (self.folder / f"{worker_id}.log").open("a") as log:
            process = subprocess.Popen(
                (sys.executable, "-m", "worker"), cwd=self.folder, env=environment, stdout=log, stderr=log, text=True
            )
        self.processes[worker_id] = process
        return process

    def end(self) -> None:
        """Kill every worker, and what a test that failed left behind."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.processes.clear()
        for tool in self.tools():
            tool.kill()

    async def worker(self, worker_id: str, *statuses: str, seconds: float = 20) -> WorkerRecord:
        """Return the worker's record once it has one of `statuses`."""

        async def seen() -> WorkerRecord | None:
            fleet = {one.worker_id: one for one in await self.rows.workers(3 * BEAT)}
            found = fleet.get(worker_id)
            return found if found is not None and found.status in statuses else None

        return await until(seen, seconds, f"{worker_id} {statuses}")

    async def start(self, worker_id: str, **settings: str) -> subprocess.Popen[str]:
        process = self.begin(worker_id, **({"WORKER_LANES": "cpu"} | settings))
        # Several that start at once on a busy machine take their time; how long is measured elsewhere.
        await self.worker(worker_id, "idle", seconds=60)
        return process

    async def steered(self, worker_id: str, wanted: Wanted, status: str) -> None:
        """Ask a worker for something, as the commands do, and return when it does it."""
        assert await self.rows.steer(worker_id, wanted) == [worker_id]
        await self.worker(worker_id, status)

    def command(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (sys.executable, "-m", "worker", *words),
            cwd=self.folder,
            env=self.environment | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @contextmanager
    def reading(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Return a command that goes on, and whose words can be read meanwhile; it ends with the block."""
        with subprocess.Popen(
            (sys.executable, "-m", "worker", *words),
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    async def publish(self, *, priority: str = "normal", lane: str = "cpu", **data: Any) -> str:
        """Publish a job of the module ffmpeg; return its id."""
        data = {"sources": [str(self.clip)], "output_file": "out.mkv"} | data
        return await self.publish_task("ffmpeg", data, f"{lane}.{priority}")

    async def publish_task(self, module: str, data: dict[str, Any], key: str = "cpu.normal") -> str:
        """Publish a job of one task; return its id."""
        job_id = str(uuid.uuid4())
        body = json.dumps({"job_id": job_id, "tasks": [{"module": module, "data": data}]}).encode()
        connection = await aio_pika.connect(self.broker)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(JOBS, ensure=False)
            await exchange.publish(aio_pika.Message(body, delivery_mode=2), key)
        return job_id

    @property
    def clip(self) -> Path:
        return self.storage / "clip.mkv"

    async def job(self, job_id: str, *states: str, seconds: float = 20) -> JobRecord:
        async def seen() -> JobRecord | None:
            found = await self.rows.job(job_id)
            return found if found is not None and found.state in states else None

        return await until(seen, seconds, f"job {states}")

    async def waiting(self) -> int:
        """Return the messages in all queues, those that somebody holds included."""
        async with httpx.AsyncClient() as client:
            held = await client.get(f"{self.management}api/queues?columns=name")
        connection = await aio_pika.connect(self.broker)
        async with connection:
            channel = await connection.channel()
            count = 0
            for queue in held.json():
                declared = await channel.declare_queue(queue["name"], passive=True)
                count += declared.declaration_result.message_count
        return count

    async def consumers(self) -> int:
        async with httpx.AsyncClient() as client:
            return len((await client.get(f"{self.management}api/consumers")).json())

    def tools(self) -> list[psutil.Process]:
        """Return the living tools of this fleet's attempts, whoever their parents are."""
        found = []
        for process in psutil.process_iter():
            try:
                label = process.environ().get("LEVERET_ATTEMPT", "")
                if label.startswith(str(self.scratch)) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def published(self, job_id: str) -> list[str]:
        return sorted(path.name for path in (self.storage / job_id).rglob("*"))


async def until(look: Callable[[], Awaitable[Any]], seconds: float, what: str) -> Any:
    """Return what `look` returns as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
    return found


async def cancelled(fleet: Fleet, job_id: str) -> None:
    """Cancel a running job; return when nothing of it is left, in time."""
    asked = time.monotonic()
    await fleet.rows.request_cancel(job_id)
    await fleet.job(job_id, "cancelled", seconds=CANCEL_SECONDS)
    await until(lambda: value_of(not fleet.tools()), CANCEL_SECONDS, "no tools")
    await until(lambda: is_count(fleet.waiting, 0), CANCEL_SECONDS, "settled")
    assert time.monotonic() - asked < CANCEL_SECONDS
    assert fleet.published(job_id) == []
    assert list(fleet.scratch.glob(f"{job_id}*")) == []


async def is_count(look: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await look() == wanted


async def value_of(value: Any) -> Any:
    return value
