"""A fleet of worker processes on the real broker: what they report, and how operators steer them."""

from __future__ import annotations

import asyncio
import json
import platform
import signal
import time
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import aio_pika
import psutil
import pytest

from tests.support.fleet import BEAT, CANCEL_SECONDS, LONG, RETRY, SHORT, Fleet, cancelled, is_count, until, value_of
from worker.core.routing import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

PROOF_SECONDS = 5.0

pytestmark = pytest.mark.xdist_group("fleet")


async def test_a_worker_proves_what_it_can_do_while_it_starts_and_serves_the_lanes_that_follow(alone: Fleet):
    fleet, statuses = alone, list[str]()
    connection = await aio_pika.connect(fleet.broker)
    async with connection:
        channel = await connection.channel()
        events = await channel.declare_queue(exclusive=True, durable=False)
        await events.bind(EVENTS, "worker.heartbeat")

        async def on_event(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            statuses.append(json.loads(message.body)["status"])

        await events.consume(on_event, no_ack=True)
        fleet.begin("prover")
        record = await fleet.worker("prover", "idle")
        await until(lambda: value_of("idle" in statuses), 5, "the event")
    assert statuses[0] == "startup"
    assert record.capabilities["formats"]["h264"] == "libx264"
    assert record.capabilities["encoders"]["libx264"] is True
    assert record.capabilities["encoders"]["av1_nvenc"] is not True
    assert record.capabilities["tools"]["ffmpeg"] is True
    assert "cpu" in record.lanes
    assert record.hardware.cores > 0
    assert record.capabilities["cores"] == record.hardware.cores
    assert record.capabilities["architecture"] == platform.machine()
    (kept,) = (fleet.scratch / "workers").glob("capabilities-*.json")
    assert json.loads(kept.read_text())["seconds"] < PROOF_SECONDS
    assert record.hardware.ram_percent > 0
    await until(lambda: is_count(fleet.consumers, 3 * len(record.lanes)), 5, "consumers")
    shown = fleet.command("workers")
    assert "prover" in shown.stdout
    assert "nvenc" not in shown.stdout


async def test_a_killed_worker_is_offline_after_three_beats(alone: Fleet):
    fleet = alone
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


async def test_heartbeats_go_on_while_tools_of_low_priority_use_every_core(fleet: Fleet, worker: str):
    job_id = await fleet.publish(**LONG)
    await fleet.job(job_id, "running")
    await until(lambda: value_of(fleet.tools()), 10, "a tool")
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
    # Only now: a tool that was found at the start may have been one of the short ones before the encode.
    (tool, *_) = fleet.tools()
    assert tool.nice() == 10
    priority = tool.ionice()
    assert (priority.ioclass, priority.value) == (psutil.IOPRIO_CLASS_BE, 7)
    await cancelled(fleet, job_id)


async def test_a_cancelled_running_job_leaves_no_tool_no_file_and_no_message(fleet: Fleet, worker: str):
    job_id = await fleet.publish(**LONG)
    await fleet.job(job_id, "running")
    await until(lambda: value_of(bool(fleet.tools())), 10, "a tool")
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
    await until(lambda: is_count(fleet.waiting, 0), RETRY + CANCEL_SECONDS, "settled")
    for job_id in (retrying, queued):
        assert (await fleet.rows.job(job_id)).state == "cancelled"
        assert fleet.published(job_id) == []


async def test_a_pause_takes_hold_within_a_heartbeat_outlives_the_process_and_ends_with_resume(
    fleet: Fleet, worker: str
):
    await until(lambda: is_count(fleet.consumers, 3), 5, "consumers")
    assert fleet.command("pause", worker).returncode == 0
    asked = time.monotonic()
    await until(lambda: is_count(fleet.consumers, 0), 5, "no consumers")
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


async def test_a_lane_that_cannot_be_served_is_reported_to_the_publisher_and_ends_the_job_with_its_reason(alone: Fleet):
    fleet = alone
    maps = [{"specifier": "v", "options": {"codec": "h264_nvenc"}}]
    data = {"sources": [str(fleet.clip)], "output_file": "out.mkv", "output_maps": maps}
    message = fleet.folder / "job.json"
    message.write_text(json.dumps({"tasks": [{"module": "ffmpeg", "data": data}]}))
    given = fleet.command("submit", str(message))
    assert given.returncode == 0, given.stderr
    assert "no living worker serves the lane nvenc" in given.stderr
    assert "1 job waits in the lane nvenc, which no living worker serves" in " ".join(
        fleet.command("workers").stdout.split()
    )
    job_id = given.stdout.strip()
    await fleet.start("pretender", WORKER_LANES="cpu,nvenc", WORKER_UNSERVED_SECONDS="1")
    record = await fleet.job(job_id, "dead")
    assert record.error_type == "Unserved"
    assert "encoder:h264_nvenc" in record.error
    assert record.attempts == []


async def test_a_killed_workers_job_runs_elsewhere_within_ten_seconds_by_default(
    alone: Fleet, record_testsuite_property: Callable[[str, object], None]
):
    """The deadline of the default settings: `WORKER_LEASE_SECONDS` is not set here."""
    fleet = alone
    killed = await fleet.start("first")
    job_id = await fleet.publish(**LONG)
    await fleet.job(job_id, "running")
    await fleet.start("second")
    at = time.monotonic()
    killed.kill()

    async def elsewhere() -> bool:
        record = await fleet.rows.job(job_id)
        return record is not None and record.attempts[-1].worker == "second"

    await until(elsewhere, 15, "an attempt of the second worker")
    seconds = time.monotonic() - at
    record_testsuite_property("seconds from SIGKILL to the next attempt", round(seconds, 1))
    assert seconds <= 10
    assert [one.outcome for one in (await fleet.rows.job(job_id)).attempts] == ["crashed", None]
