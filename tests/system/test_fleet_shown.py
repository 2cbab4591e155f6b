"""What workers show while they work: heartbeats under full load, figures for Prometheus, logs; one command for all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import BEAT, LONG, SHORT, Fleet, cancelled, is_count, until, value_of
from worker.adapters.metrics import metric_families

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = pytest.mark.xdist_group("fleet")

SLOW_GIT = """#!/bin/sh
case " $* " in *" clone "*) timeout 5 sh -c 'while :; do :; done' ;; esac
exec git "$@"
"""
HISTORY = """commit refs/heads/main
committer Ann <ann@example.org> 1700000000 +0000
data 1
a
M 644 inline a.txt
data 1
a

"""


@contextlib.contextmanager
def full_load() -> Iterator[None]:
    """Keep every core busy, as far back as tools stand."""
    spin = ("nice", "-n", "10", sys.executable, "-c", "while True: pass")
    hogs = [subprocess.Popen(spin) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


async def longest_silence(fleet: Fleet, worker_id: str, over: Callable[[], Awaitable[bool]]) -> float:
    """Return the longest time between two beats, in intervals, from now until it is `over`."""
    seen: set[datetime] = set()

    async def look() -> bool:
        (record,) = [one for one in await fleet.rows.workers(3 * BEAT) if one.worker_id == worker_id]
        assert record.status != "offline"
        seen.add(record.seen_at)
        return await over()

    await until(look, 60, "the end of the work")
    last = max(seen)

    async def next_beat() -> bool:
        (record,) = [one for one in await fleet.rows.workers(3 * BEAT) if one.worker_id == worker_id]
        seen.add(record.seen_at)
        return record.seen_at > last

    await until(next_beat, 3 * BEAT, "one more beat")
    return max(later - earlier for earlier, later in pairwise(sorted(seen))) / timedelta(seconds=BEAT)


def is_cloning(fleet: Fleet) -> bool:
    """Return whether a tool of the fleet clones; one that ends meanwhile does not."""
    for tool in fleet.tools():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "clone" in tool.cmdline():
                return True
    return False


async def test_heartbeats_go_on_while_large_files_are_published_and_repositories_cloned(fleet: Fleet):
    git = fleet.folder / "slow-git"
    git.write_text(SLOW_GIT)
    git.chmod(0o755)
    origin = fleet.storage / "origin.git"
    subprocess.run(("git", "init", "--quiet", "--bare", str(origin)), check=True)
    subprocess.run(("git", "-C", str(origin), "fast-import", "--quiet"), input=HISTORY.encode(), check=True)
    subprocess.run(("git", "-C", str(origin), "symbolic-ref", "HEAD", "refs/heads/main"), check=True)
    large = fleet.storage / "large.mkv"
    frames = "color=black:s=1280x720:r=25:d=6"
    argv = ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", frames, "-c:v", "rawvideo", "-pix_fmt", "yuv420p", str(large))
    subprocess.run(argv, check=True)
    assert large.stat().st_size > 200_000_000
    process = await fleet.start(
        "carrier", WORKER_LANES="cpu,visualize", WORKER_GIT=str(git), WORKER_ALLOW_FILE_REPOS="true"
    )
    with full_load():
        published = await fleet.publish(
            sources=[str(large)], output_maps=[{"specifier": "v", "options": {"codec": "copy"}}]
        )

        async def is_published() -> bool:
            record = await fleet.rows.job(published)
            assert record is None or record.state not in {"dead", "retrying"}, record.error
            return record is not None and record.state == "completed"

        assert await longest_silence(fleet, "carrier", is_published) < 2
        (made,) = (await fleet.rows.job(published)).artifacts
        assert made.bytes > 200_000_000
        film = await fleet.publish_task("gource", {"repo_url": f"file://{origin}", "resolution": "320x180"})
        await fleet.job(film, "running")
        await until(lambda: value_of(is_cloning(fleet)), 10, "git")

        async def is_cloned() -> bool:
            return not is_cloning(fleet)

        assert await longest_silence(fleet, "carrier", is_cloned) < 2
    await cancelled(fleet, film)
    process.terminate()
    assert await asyncio.to_thread(process.wait, 20) == 0
    large.unlink()


async def test_all_workers_are_paused_resumed_and_drained_at_once(alone: Fleet):
    fleet, names = alone, ("one", "two", "three")
    await asyncio.gather(*(fleet.start(name) for name in names))
    assert fleet.command("pause", "--all").returncode == 0
    await asyncio.gather(*(fleet.worker(name, "paused") for name in names))
    await until(lambda: is_count(fleet.consumers, 0), 5, "no consumers")
    jobs = [await fleet.publish(**SHORT) for _ in range(6)]
    assert await fleet.waiting() == len(jobs)
    assert fleet.command("resume", "--all").returncode == 0
    records = [await fleet.job(job_id, "completed", seconds=30) for job_id in jobs]
    assert len({record.attempts[0].worker for record in records}) > 1
    long = await fleet.publish(**(LONG | {"input_options": {"stream_loop": -1, "t": 8}}))
    await fleet.job(long, "running")
    assert fleet.command("drain", "--all").returncode == 0
    codes = await asyncio.gather(*(asyncio.to_thread(fleet.processes[name].wait, 60) for name in names))
    assert codes == [0, 0, 0]
    assert (await fleet.rows.job(long)).state == "completed"


@pytest.fixture
async def counted(alone: Fleet) -> tuple[Fleet, str]:
    """Return a fleet of one worker, and the address of its figures."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    await alone.start("counted", WORKER_METRICS_ADDRESS=address)
    return alone, f"http://{address}/metrics"


async def test_the_figures_of_a_worker_state_what_it_really_did(counted: tuple[Fleet, str]):
    fleet, url = counted

    async def scraped() -> dict[str, float]:
        async with httpx.AsyncClient() as client:
            text = (await client.get(url)).text
        found = {}
        for family in text_string_to_metric_families(text):
            found[family.name] = 0.0
            for sample in family.samples:
                labels = ",".join(value for _, value in sorted(sample.labels.items()))
                found[f"{sample.name}({labels})"] = sample.value
        return found

    async def value(name: str) -> float:
        return (await scraped()).get(name, 0.0)

    families = {family.name + "_info" * (family.type == "info") for family in metric_families()}
    assert families <= (await scraped()).keys()
    held = await fleet.publish(**LONG)
    await until(lambda: value("leveret_encoder_fps()"), 20, "frames a second")
    assert await value("leveret_encoder_speed()") > 0
    await until(lambda: value("leveret_worker_status(in_progress)"), 2 * BEAT, "the beat's status")
    with closing(sqlite3.connect(fleet.folder / "fleet.db", timeout=10)) as rows, rows:
        rows.execute("UPDATE jobs SET state = 'cancelled', epoch = epoch + 1 WHERE job_id = ?", (held,))
    await until(lambda: value("leveret_lease_losses_total()"), 10, "the lost lease")
    await until(lambda: is_count(fleet.waiting, 0), 10, "its message")
    assert await value("leveret_encoder_fps()") == 0
    done = await fleet.publish(priority="high", **SHORT)
    (made,) = (await fleet.job(done, "completed")).artifacts
    await until(lambda: value("leveret_jobs_total(cpu,ffmpeg,completed)"), 5, "the settlement")
    found = await scraped()
    assert found["leveret_bytes_total(out,file)"] == made.bytes
    assert found["leveret_tool_exits_total(ffmpeg,ok)"] >= 1
    assert found["leveret_tool_cpu_seconds_total(ffmpeg)"] > 0
    assert found["leveret_job_seconds_count(cpu,ffmpeg)"] == 1
    lost = await fleet.publish(sources=[str(fleet.storage / "absent.mkv")])
    await fleet.job(lost, "retrying", "dead")
    failures = {name: count for name, count in (await scraped()).items() if name.startswith("leveret_retries_total(")}
    assert list(failures.values()) == [1.0]


async def test_a_log_is_followed_while_its_job_runs_and_the_worker_is_seen_with_it(fleet: Fleet, worker: str):
    job_id = await fleet.publish(**LONG)
    await fleet.job(job_id, "running")
    with fleet.reading("logs", job_id, "--follow") as following:
        first = await asyncio.to_thread(following.stdout.readline)
        assert first.startswith(f"--- attempt 1 on {worker}, ")
        # The look at the end of the source, or the encode: how far the tools are by then is theirs.
        assert "s] $ ff" in await asyncio.to_thread(following.stdout.readline)
        assert following.poll() is None
        await until(lambda: shown_with(fleet, worker, job_id), 5, "the worker with its job")
        await cancelled(fleet, job_id)
        said, errors = await asyncio.to_thread(following.communicate, timeout=20)
        assert (following.returncode, errors) == (0, "")
    assert said.endswith("s] stopped from outside and killed\n")


async def shown_with(fleet: Fleet, worker: str, job_id: str) -> bool:
    """Return whether `workers --json` shows the worker at this job."""
    answer = await asyncio.to_thread(fleet.command, "workers", "--json")
    (found,) = [one for one in json.loads(answer.stdout) if one["worker_id"] == worker]
    assert {"hostname", "version", "lanes", "capabilities", "hardware", "seen_at"} <= found.keys()
    assert {"architecture", "cores", "encoders", "decoders", "max_sizes"} <= found["capabilities"].keys()
    return (found["status"], found["job_id"]) == ("in_progress", job_id)
