"""However a render ends early, all of its programs are gone with it, and no half film is published."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.engine import document
from tests.support.visualizers import (
    TOOLS,
    frames_of,
    gource_harness,
    gource_task,
    left_of,
    made_repository,
    message,
    published,
)
from worker.core.attempt import Cancelled, Completed, Retry
from worker.process.runner import ProcessRunner
from worker.testing import TaskBench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.engine import Broker, Harness
    from worker import TaskContext
    from worker.engine.executor import Settlement

pytestmark = pytest.mark.xdist_group("rabbitmq")

# several seconds of drawing
LONG: dict[str, Any] = {"resolution": "1280x720", "--time-scale": 1, "length": 2}
SECONDS = 120


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_repository(tmp_path_factory.mktemp("history") / "origin", {"src/a.py": "1"}, {"b.py": "2"})


def running(name: str) -> list[psutil.Process]:
    """Return our living programs of this name."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@asynccontextmanager
async def half_drawn(harness: Harness, broker: Broker, sent: dict[str, Any]) -> AsyncIterator[asyncio.Task[Settlement]]:
    """Yield the attempt of a message once a good part of its film is drawn."""
    await broker.publish(sent, "visualize.normal")
    attempt = asyncio.create_task(harness.one(SECONDS))
    deadline = time.monotonic() + SECONDS
    while not await drawn(harness, sent["videoId"]):
        assert not attempt.done(), await attempt
        assert time.monotonic() < deadline, "nothing was drawn"
        await asyncio.sleep(0.02)
    assert (len(running("gource")), len(running("ffmpeg"))) == (2, 1)
    yield attempt
    assert left_of(harness.folder) == []


async def drawn(harness: Harness, job_id: str) -> bool:
    """Return whether the record tells that more than a tenth of the job is done."""
    record = await harness.repository.job(job_id)
    return record is not None and record.state == "running" and (record.progress.percent or 0) > 10


@pytest.mark.parametrize(("victim", "place"), [("gource", 0), ("gource", 1), ("ffmpeg", 0)])
async def test_a_killed_program_of_a_pipe_ends_the_others_and_the_job_is_tried_again(
    provisioned_broker: str, broker: Broker, history: Path, tmp_path: Path, victim: str, place: int
) -> None:
    sent = message(history, **LONG)
    async with gource_harness(provisioned_broker, tmp_path, history.parent) as harness:
        async with half_drawn(harness, broker, sent) as attempt:
            sorted(running(victim), key=lambda one: one.pid)[place].send_signal(signal.SIGKILL)
            killed = time.monotonic()
            while running("gource") or running("ffmpeg"):
                assert time.monotonic() - killed < 1.0
                await asyncio.sleep(0.01)
            settlement = await attempt
        assert isinstance(settlement.outcome, Retry)
        assert "killed by SIGKILL" in (await harness.repository.job(sent["videoId"])).attempts[-1].error
        assert published(harness) == []
        await harness.until(sent["videoId"], "completed", "dead", seconds=SECONDS)
        assert (await harness.repository.job(sent["videoId"])).state == "completed"


async def test_a_gource_that_stands_still_is_ended_as_a_stall_with_the_others(
    provisioned_broker: str, broker: Broker, history: Path, tmp_path: Path
) -> None:
    sent = message(history, **LONG)
    async with gource_harness(provisioned_broker, tmp_path, history.parent, stall_seconds=2.0) as harness:
        async with half_drawn(harness, broker, sent) as attempt:
            running("gource")[0].send_signal(signal.SIGSTOP)
            settlement = await attempt
        assert isinstance(settlement.outcome, Retry)
        record = await harness.repository.job(sent["videoId"])
        assert (record.state, record.attempts[-1].error_type) == ("retrying", "ToolStalled")
        assert published(harness) == []


async def test_a_cancelled_render_ends_all_programs_and_publishes_nothing(
    provisioned_broker: str, broker: Broker, history: Path, tmp_path: Path
) -> None:
    sent = message(history, **LONG)
    async with gource_harness(provisioned_broker, tmp_path, history.parent) as harness:
        async with half_drawn(harness, broker, sent) as attempt:
            await harness.repository.request_cancel(sent["videoId"])
            settlement = await attempt
        assert isinstance(settlement.outcome, Cancelled)
        assert (await harness.repository.job(sent["videoId"])).state == "cancelled"
        ran = str(await harness.repository.log(sent["videoId"]))
        assert "gource" in ran
        assert "packager" not in ran
        assert published(harness) == []


async def test_a_render_that_reaches_its_time_limit_ends_all_programs_and_fails(
    provisioned_broker: str, broker: Broker, history: Path, tmp_path: Path
) -> None:
    sent = message(history, **LONG | {"--time-scale": 0.5, "seconds_per_day": 480}, time_limit=2)
    async with gource_harness(provisioned_broker, tmp_path, history.parent) as harness:
        await broker.publish(sent, "visualize.normal")
        settlement = await harness.one(SECONDS)
        assert isinstance(settlement.outcome, Retry)
        assert left_of(tmp_path) == []
        record = await harness.repository.job(sent["videoId"])
        assert (record.state, record.attempts[-1].error_type) == ("retrying", "TimedOut")
        assert published(harness) == []


async def test_a_render_that_may_be_kept_is_published_as_far_as_it_came_and_says_so(
    provisioned_broker: str, broker: Broker, history: Path, tmp_path: Path
) -> None:
    sent = message(history, **LONG | {"--time-scale": 0.5, "seconds_per_day": 480}, time_limit=3, on_timeout="keep")
    async with gource_harness(provisioned_broker, tmp_path, history.parent) as harness:
        await broker.publish(sent, "visualize.normal")
        settlement = await harness.one(SECONDS)
        assert isinstance(settlement.outcome, Completed)
        assert left_of(tmp_path) == []
        record = await harness.repository.job(sent["videoId"])
        cut_short = record.facts["truncated"]
        assert 0 < cut_short["frames"] < cut_short["of"] == record.facts["gource"]["frames"]
        assert frames_of(harness.storage / sent["videoId"] / "master.m3u8") == cut_short["frames"]
        assert f"cut short: {cut_short['frames']} of {cut_short['of']} frames" in record.facts["warnings"][-1]


class Hurried(TaskBench):
    """A bench on which four seconds are left."""

    def seconds_left(self) -> float:
        return 4.0


async def test_a_film_that_may_be_kept_is_ended_before_its_job_is(history: Path, tmp_path: Path) -> None:
    bench = Hurried(tmp_path, ProcessRunner(dict(os.environ)), tools=TOOLS)
    wanted = message(history, **LONG | {"--time-scale": 0.5, "seconds_per_day": 480}, on_timeout="keep", output="mp4")
    result = await bench.run_task(gource_task(history.parent), {"repo_url": wanted["repoURL"]} | wanted["gource"])
    cut_short: dict[str, int] = result.facts["truncated"]
    assert 0 < cut_short["frames"] == frames_of(result.outputs["video.mp4"].path) < cut_short["of"]
    assert "drawn in 3 s" in result.warnings[-1]


async def test_a_task_knows_how_long_its_job_may_still_run(harness: Harness, broker: Broker) -> None:
    left: list[float] = []

    async def looked(context: TaskContext) -> None:
        left.append(context.seconds_left())

    harness.task.on_run = looked
    await broker.publish(document(timeout=30))
    assert isinstance((await harness.one(SECONDS)).outcome, Completed)
    assert 0 < left[0] < 30
