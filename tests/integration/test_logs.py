"""What a job's tools say is kept: in the database while they run, beside the artifacts when asked, in the figures."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.echo_plugin import EchoTask
from tests.support.engine import Harness, document
from worker.adapters.metrics import Metrics
from worker.core.command import Command, Pipeline
from worker.engine.attempt.run import LocalProduction
from worker.engine.executor import Executor
from worker.engine.storages import Storages
from worker.process.runner import ProcessRunner

pytestmark = pytest.mark.xdist_group("rabbitmq")


def says(*lines: str, script: str = "") -> Pipeline:
    code = "import sys,time\n" + "".join(f"print({line!r}, file=sys.stderr, flush=True)\n" for line in lines) + script
    return Pipeline((Command((sys.executable, "-c", code), secrets=("hunter2",)),))


async def test_the_output_of_tools_is_read_while_they_still_run(harness, broker, repository, tmp_path):
    go_on = tmp_path / "go on"

    async def on_run(context):
        waits = f"import os\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.02)\n"
        (end,) = await context.run(says("it begins", "the password is hunter2", script=waits))
        assert end.ok

    harness.task.on_run = on_run
    job = document()
    await broker.publish(job)
    running = asyncio.create_task(harness.one(20))
    deadline = time.monotonic() + 10
    while (found := await repository.log(job["job_id"])) is None or "hidden" not in found.text:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert not found.ended
    assert "it begins\nthe password is [hidden]\n" in found.text
    assert "exited" not in found.text
    go_on.touch()
    await running
    found = await repository.log(job["job_id"])
    assert found.ended
    assert (
        found.text.splitlines()[-1].endswith("exited 0 after 0 s: the password is [hidden]") or "exited 0" in found.text
    )
    assert "hunter2" not in found.text


async def test_the_log_of_a_failed_attempt_states_what_its_tools_said(harness, broker, repository):
    async def on_run(context):
        await context.run(says("cannot open the file", script="sys.exit(3)\n"))
        raise ValueError("the tool failed")

    harness.task.on_run = on_run
    job = document()
    await broker.publish(job)
    await harness.one()
    found = await repository.log(job["job_id"], 1)
    assert found.ended
    assert "cannot open the file\n" in found.text
    assert "exited 3" in found.text


async def test_a_job_without_tools_leaves_no_log(harness, broker, repository):
    job = document()
    await broker.publish(job)
    await harness.one()
    assert await repository.log(job["job_id"]) is None


async def test_a_job_without_files_and_tools_makes_no_scratch_folder(
    provisioned_broker, broker, repository, tmp_path, monkeypatch
):
    def refuse(path):
        raise AssertionError(f"{path} is made")

    monkeypatch.setattr("worker.engine.host.scratch._locked", refuse)
    harness = Harness(provisioned_broker, repository, tmp_path, more_tasks=(EchoTask(),))
    job = document(tasks=[{"module": "echo", "data": {"text": "a"}}])
    await broker.publish(job)
    await harness.one()
    await harness.close()
    await harness.publisher.close()
    assert (await repository.job(job["job_id"])).state == "completed"


async def test_a_job_that_asks_for_its_log_gets_it_beside_its_artifacts(harness, broker, repository):
    async def on_run(context):
        await context.run(says("all is well"))

    harness.task.on_run = on_run
    job = document(keep_log=True)
    await broker.publish(job)
    await harness.one()
    record = await repository.job(job["job_id"])
    (log,) = [artifact for artifact in record.artifacts if artifact.role == "log"]
    assert log.uri.endswith(f"/{job['job_id']}/leveret.log")
    assert "all is well\n" in (harness.storage / job["job_id"] / "leveret.log").read_text()
    # The one file that was asked for is still the job's result.
    assert record.manifest_url.endswith("/out.txt")


async def test_ends_of_jobs_are_counted(harness, broker):
    metrics = Metrics(("write",), (Path(sys.executable).name,))
    resources = replace(
        harness.resources,
        observer=metrics,
        storages=Storages.of((harness.nas,), {}, metrics),
        runner=ProcessRunner({}, on_exit=metrics.tool_ended),
    )
    harness.executor = Executor(
        resources, harness.policy, LocalProduction(resources), worker_id="tester-1", lanes=("cpu",), lease_seconds=5
    )

    async def on_run(context):
        await context.run(says("well"))
        if harness.task.runs == 1:
            raise OSError("the first time fails")

    harness.task.on_run = on_run
    queued = datetime.now(UTC) - timedelta(seconds=30)
    job = document()
    await broker.publish(job, headers={"x-first-queued-at": queued.isoformat()})
    await harness.until(job["job_id"], "completed")

    def value(name, **labels):
        return metrics.registry.get_sample_value(name, labels)

    assert value("leveret_jobs_total", outcome="retry", lane="cpu", module="write") == 1
    assert value("leveret_jobs_total", outcome="completed", lane="cpu", module="write") == 1
    assert value("leveret_retries_total", lane="cpu", error="OSError") == 1
    assert value("leveret_bytes_total", direction="out", scheme="nas") == len("hello")
    assert value("leveret_tool_exits_total", program=Path(sys.executable).name, reason="ok") == 2
    # The wait is the first attempt's: the retry's own delay is none of it.
    assert value("leveret_job_wait_seconds_count", lane="cpu", priority="normal") == 1
    assert 29 < value("leveret_job_wait_seconds_sum", lane="cpu", priority="normal") < 60
