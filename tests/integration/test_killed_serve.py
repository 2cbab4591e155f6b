"""Two servers at one folder, both killed with SIGKILL in the middle: no film is submitted twice, and none is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pika
import pytest

from tests.support.folders import TEMPLATE
from worker.adapters.sql.schema import jobs
from worker.app.control import assembled
from worker.app.folder_files import WatchedFiles
from worker.control.intake.folders import put_folder
from worker.control.intake.templates import put_template
from worker.core.routing import queue_of
from worker.settings import load

pytestmark = pytest.mark.xdist_group("rabbitmq")

FILMS = 30


async def rows(repository):
    return await repository._database.read(lambda connection: connection.execute(jobs.select()).all())


async def until(repository, count, seconds=90.0):
    deadline = time.monotonic() + seconds
    while len(await rows(repository)) < count:
        assert time.monotonic() < deadline, f"{len(await rows(repository))} of {count} jobs"
        await asyncio.sleep(0.02)


def serve(environment, log):
    command = (sys.executable, "-m", "worker", "serve")
    here = Path(__file__).parents[2]
    return subprocess.Popen(command, env=environment, cwd=here, stdout=log, stderr=log, start_new_session=True)


def published(url):
    """Return the ids of the messages that wait."""
    found = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        while (got := channel.basic_get(queue_of("cpu", "normal"), auto_ack=True))[0] is not None:
            found.append(got[1].message_id)
    return found


async def test_servers_killed_while_they_submit_lose_no_film_and_double_none(
    repository, broker_url, tmp_path, monkeypatch
):
    root = tmp_path / "nas"
    (root / "inbox").mkdir(parents=True)
    values = {
        "WORKER_DATABASE_URL": f"sqlite:///{tmp_path}/leveret.db", "WORKER_BROKER_URL": broker_url,
        "WORKER_NAS_ROOT": str(root), "WORKER_STORAGE_URL": "nas://out", "WORKER_SCRATCH": str(tmp_path / "scratch"),
        "WORKER_SERVE_ADDRESS": "127.0.0.1:0",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load()
    control = assembled(settings, repository)
    await put_template(control, "look", TEMPLATE)
    document = {"place": "nas://inbox", "template": "look", "settle_seconds": 1}
    await put_folder(control, WatchedFiles.of(settings, repository), "inbox", document)
    for number in range(FILMS):
        (root / "inbox" / f"{number}.mkv").write_bytes(f"film {number}".encode())
    running = []
    with (tmp_path / "serve.log").open("wb") as log:
        try:
            running += [serve(dict(os.environ), log) for _ in range(2)]
            await until(repository, 3)
            for process in running:
                process.send_signal(signal.SIGKILL)
                process.wait()
            # The lease of whoever had the folder outlives it; nobody waits for it here.
            await repository._database.write(lambda c: c.exec_driver_sql("UPDATE folders SET lease_until = 0"))
            running += [serve(dict(os.environ), log) for _ in range(2)]
            await until(repository, FILMS)
            deadline = time.monotonic() + 60
            while len(await repository.folder_files("inbox", "submitted", 1000)) < FILMS:
                assert time.monotonic() < deadline, await repository.folder_files("inbox", None, 1000)
                await asyncio.sleep(0.05)
        finally:
            for process in running:
                process.kill()
                process.wait()
    found = await rows(repository)
    assert (len(found), {row.state for row in found}) == (FILMS, {"queued"})
    waiting = [message.job_id for message in await repository.outbox(0.0, 1000)]
    messages = await asyncio.to_thread(published, broker_url)
    # What a killed server wrote and did not publish is in the outbox, from which a worker publishes it.
    assert set(messages) | set(waiting) == {row.job_id for row in found}
    assert len(messages) == len(set(messages))
