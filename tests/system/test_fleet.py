"""A fleet of worker processes on the real broker: what they tell of themselves, and people's hands on them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import httpx
import psutil
import pytest

from infra.broker import declare
from infra.local import LocalServices
from infra.migrations import upgrade
from worker.adapters.sql import SqlRepository
from worker.core.routing import EVENTS, JOBS, topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from worker.core.record import JobRecord, Wanted, WorkerRecord

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_", "RABBITMQ_"))}
BEAT = 1.0
RETRY = 2.0
CANCEL_SECONDS = 7.0

pytestmark = pytest.mark.xdist_group("fleet")


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
        await self.worker(worker_id, "idle")
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

    async def publish(self, *, priority: str = "normal", lane: str = "cpu", **data: Any) -> str:
        """Publish a job of the module ffmpeg; return its id."""
        job_id = str(uuid.uuid4())
        task = {"module": "ffmpeg", "data": {"sources": [str(self.clip)], "output_file": "out.mkv"} | data}
        body = json.dumps({"job_id": job_id, "tasks": [task]}).encode()
        connection = await aio_pika.connect(self.broker)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(JOBS, ensure=False)
            await exchange.publish(aio_pika.Message(body, delivery_mode=2), f"{lane}.{priority}")
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


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    private = LocalServices(tmp_path_factory.mktemp("services"))
    private.up()
    told = private.environment("rabbitmq")
    declare(told["WORKER_BROKER_URL"], topology((RETRY,)))
    yield told
    private.down(purge=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    argv = ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=1", "-c:v", "libx264", str(path))
    subprocess.run(argv, check=True)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, services: dict[str, str], clip: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), services)
    upgrade(fleet.database_url)
    shutil.copy(clip, fleet.clip)
    yield fleet
    fleet.end()


@pytest.fixture
async def fleet(place: Fleet) -> AsyncIterator[Fleet]:
    """Return the fleet, with a connection of the test's own to its database, and without jobs."""
    place.rows = SqlRepository(place.database_url)
    connection = await aio_pika.connect(place.broker)
    async with connection:
        channel = await connection.channel()
        for queue in topology((RETRY,)).queues:
            await (await channel.get_queue(queue.name, ensure=False)).purge()
    yield place
    for state in ("queued", "retrying", "running"):
        for job in await place.rows.jobs(state):
            await place.rows.request_cancel(job.job_id)
    await place.rows.close()


@pytest.fixture
async def worker(fleet: Fleet) -> str:
    """Return the worker that serves all tests which ask for it, in `cpu` alone; only those start another one."""
    if "worker" not in fleet.processes:
        await fleet.start("worker")
    await fleet.worker("worker", "idle")
    return "worker"


@pytest.fixture
def alone(fleet: Fleet) -> Fleet:
    """Return the fleet without any worker."""
    fleet.end()
    return fleet


LONG = {
    "input_options": {"stream_loop": -1, "t": 3600},
    "output_maps": [{"specifier": "v", "stream": 0, "options": {"codec": "libx264", "preset": "veryslow"}}],
}
SHORT = {"output_maps": [{"specifier": "v", "stream": 0, "options": {"codec": "h264", "preset": "ultrafast"}}]}


async def test_a_worker_proves_what_it_can_do_while_it_starts_and_serves_the_lanes_that_follow(alone: Fleet):
    fleet, statuses = alone, list[str]()
    connection = await aio_pika.connect(fleet.broker)
    async with connection:
        channel = await connection.channel()
        events = await channel.declare_queue(exclusive=True, durable=False)
        await events.bind(EVENTS, "worker.heartbeat")

        async def heard(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            statuses.append(json.loads(message.body)["status"])

        await events.consume(heard, no_ack=True)
        fleet.begin("prover")
        record = await fleet.worker("prover", "idle")
        await until(lambda: _value("idle" in statuses), 5, "the event")
    assert statuses[0] == "startup"
    assert record.capabilities["formats"]["h264"] == "libx264"
    assert record.capabilities["encoders"]["libx264"] is True
    assert record.capabilities["encoders"]["av1_nvenc"] is not True
    assert record.capabilities["tools"]["ffmpeg"] is True
    assert "cpu" in record.lanes
    assert record.hardware.cores > 0
    assert record.hardware.ram_percent > 0
    await until(lambda: _is(fleet.consumers, 3 * len(record.lanes)), 5, "consumers")
    shown = fleet.command("workers")
    assert "prover" in shown.stdout
    assert "no living worker serves nvenc" in shown.stdout


async def test_a_killed_worker_is_offline_after_three_beats(fleet: Fleet):
    if "prover" not in fleet.processes:
        await fleet.start("prover")
    fleet.end()
    killed = time.monotonic()
    await fleet.worker("prover", "offline", seconds=5 * BEAT)
    assert 1.5 * BEAT < time.monotonic() - killed < 4.5 * BEAT


async def test_an_idle_worker_takes_the_highest_priority_first(fleet: Fleet, worker: str):
    await fleet.steered(worker, "pause", "paused")
    jobs = {name: await fleet.publish(priority=name, **SHORT) for name in ("low", "normal", "high")}
    await fleet.rows.steer(None, "run")
    records = {name: await fleet.job(job_id, "completed") for name, job_id in jobs.items()}
    assert sorted(records, key=lambda name: records[name].started_at) == ["high", "normal", "low"]


async def test_software_stands_in_for_hardware_where_the_job_allows_it(fleet: Fleet, worker: str):
    maps = [{"specifier": "v", "options": {"codec": "h264_nvenc"}}]
    job_id = await fleet.publish(output_maps=maps, hw_fallback=True)
    assert (await fleet.job(job_id, "completed")).lane == "cpu"


async def test_heartbeats_go_on_while_tools_that_stand_back_use_every_core(fleet: Fleet, worker: str):
    job_id = await fleet.publish(**LONG)
    await fleet.job(job_id, "running")
    (tool, *_) = await until(lambda: _value(fleet.tools()), 10, "a tool")
    seen: set[datetime] = set()
    began = time.monotonic()
    psutil.cpu_percent()
    while time.monotonic() - began < 6 * BEAT:
        record = await fleet.worker(worker, "idle", "in_progress")
        seen.add(record.seen_at)
        await asyncio.sleep(0.05)
    assert (record.status, record.job_id) == ("in_progress", job_id)
    beats = sorted(seen)
    assert max(later - earlier for earlier, later in pairwise(beats)) < timedelta(seconds=2 * BEAT)
    # Of the whole machine: other programs go before the tool, which stands back.
    assert psutil.cpu_percent() > 80
    assert tool.nice() == 10
    priority = tool.ionice()
    assert (priority.ioclass, priority.value) == (psutil.IOPRIO_CLASS_BE, 7)
    await cancelled(fleet, job_id)


async def cancelled(fleet: Fleet, job_id: str) -> None:
    """Cancel a running job; return when nothing of it is left, in time."""
    asked = time.monotonic()
    await fleet.rows.request_cancel(job_id)
    await fleet.job(job_id, "cancelled", seconds=CANCEL_SECONDS)
    await until(lambda: _value(not fleet.tools()), CANCEL_SECONDS, "no tools")
    await until(lambda: _is(fleet.waiting, 0), CANCEL_SECONDS, "settled")
    assert time.monotonic() - asked < CANCEL_SECONDS
    assert fleet.published(job_id) == []
    assert list(fleet.scratch.glob(f"{job_id}*")) == []


async def test_a_cancelled_running_job_leaves_no_tool_no_file_and_no_message(fleet: Fleet, worker: str):
    job_id = await fleet.publish(**LONG)
    await fleet.job(job_id, "running")
    await until(lambda: _value(bool(fleet.tools())), 10, "a tool")
    await cancelled(fleet, job_id)


async def test_waiting_jobs_are_cancelled_at_once_and_their_messages_settled_when_they_come(fleet: Fleet, worker: str):
    retrying = await fleet.publish(sources=[str(fleet.storage / "absent.mkv")])
    await fleet.job(retrying, "retrying")
    assert await fleet.rows.request_cancel(retrying) == "cancelled"
    await fleet.steered(worker, "pause", "paused")
    queued = await fleet.publish(**SHORT)
    shown = fleet.command("cancel", "--unseen", queued)
    assert (shown.returncode, (await fleet.rows.job(queued)).state) == (0, "cancelled")
    await fleet.rows.steer(None, "run")
    await until(lambda: _is(fleet.waiting, 0), RETRY + CANCEL_SECONDS, "settled")
    for job_id in (retrying, queued):
        assert (await fleet.rows.job(job_id)).state == "cancelled"
        assert fleet.published(job_id) == []


async def test_a_pause_takes_hold_within_a_heartbeat_outlives_the_process_and_ends_with_resume(
    fleet: Fleet, worker: str
):
    await until(lambda: _is(fleet.consumers, 3), 5, "consumers")
    assert fleet.command("pause", worker).returncode == 0
    asked = time.monotonic()
    await until(lambda: _is(fleet.consumers, 0), 5, "no consumers")
    assert time.monotonic() - asked < BEAT + 1.0
    job_id = await fleet.publish(**SHORT)
    process = fleet.processes[worker]
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 10) == 0
    await fleet.worker(worker, "offline", seconds=1)
    fleet.begin(worker, WORKER_LANES="cpu")
    await fleet.worker(worker, "paused")
    assert await fleet.consumers() == 0
    assert await fleet.rows.job(job_id) is None
    await fleet.rows.steer(None, "run")
    record = await fleet.job(job_id, "completed")
    assert fleet.published(job_id) == ["out.mkv"]
    assert [attempt.worker for attempt in record.attempts] == [worker]


async def test_a_drained_worker_finishes_its_job_and_ends_well_and_the_next_one_runs(fleet: Fleet, worker: str):
    first = await fleet.publish(**(LONG | {"input_options": {"stream_loop": -1, "t": 40}}))
    await fleet.job(first, "running")
    second = await fleet.publish(**SHORT)
    await fleet.steered(worker, "drain", "draining")
    assert (await fleet.rows.job(first)).state == "running"
    assert await asyncio.to_thread(fleet.processes[worker].wait, 150) == 0
    assert (await fleet.rows.job(first)).state == "completed"
    assert await fleet.rows.job(second) is None
    await fleet.start(worker)
    await fleet.job(second, "completed")


async def test_a_worker_rests_outside_its_hours_and_says_so(fleet: Fleet, alone: Fleet):
    now = datetime.now().astimezone()
    hours = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    fleet.begin("lent", WORKER_LANES="cpu", WORKER_ACTIVE_HOURS=hours)
    record = await fleet.worker("lent", "paused")
    assert record.problem == f"outside its active hours {hours}"
    assert await fleet.consumers() == 0
    job_id = await fleet.publish(**SHORT)
    assert await fleet.waiting() == 1
    await fleet.start("free")
    record = await fleet.job(job_id, "completed")
    assert [attempt.worker for attempt in record.attempts] == ["free"]


async def test_a_lane_that_cannot_be_served_is_told_to_the_publisher_and_ends_the_job_with_its_reason(alone: Fleet):
    fleet = alone
    maps = [{"specifier": "v", "options": {"codec": "h264_nvenc"}}]
    data = {"sources": [str(fleet.clip)], "output_file": "out.mkv", "output_maps": maps}
    message = fleet.folder / "job.json"
    message.write_text(json.dumps({"tasks": [{"module": "ffmpeg", "data": data}]}))
    given = fleet.command("submit", str(message))
    assert given.returncode == 0, given.stderr
    assert "no living worker serves the lane nvenc" in given.stderr
    job_id = given.stdout.strip()
    await fleet.start("pretender", WORKER_LANES="cpu,nvenc", WORKER_UNSERVED_SECONDS="1")
    record = await fleet.job(job_id, "dead")
    assert record.error_type == "Unserved"
    assert "encoder:h264_nvenc" in record.error
    assert record.attempts == []


async def _is(look: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await look() == wanted


async def _value(value: Any) -> Any:
    return value
