"""One private broker and one fleet for all tests of workers as processes."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import aio_pika
import pytest

from infra.broker import declare
from infra.local import LocalServices
from infra.migrations import upgrade
from tests.support.fleet import RETRY, Fleet
from worker.adapters.sql import SqlRepository
from worker.core.listing import JobFilter
from worker.core.topology import topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def fleet_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    private = LocalServices(tmp_path_factory.mktemp("services"))
    private.up()
    variables = private.environment("rabbitmq")
    declare(variables["WORKER_BROKER_URL"], topology((RETRY,)))
    yield variables
    private.down(purge=True)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    argv = ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=1", "-c:v", "libx264", str(path))
    subprocess.run(argv, check=True)
    return path


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, fleet_services: dict[str, str], clip: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), fleet_services)
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
        for job in (await place.rows.page(JobFilter(state))).jobs:
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
def alone(fleet: Fleet) -> Iterator[Fleet]:
    """Return the fleet without any worker; those that the test starts end with it."""
    fleet.end()
    yield fleet
    fleet.end()
