"""One private RabbitMQ for the integration tests, with our topology; every test finds its queues empty."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pika
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig import Broker, Rig, broker_hands

from infra.broker import declare
from infra.local import LocalServices
from infra.migrations import upgrade
from worker.adapters.sql import SqlRepository
from worker.core.routing import topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from desk import Desk


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    private = LocalServices(tmp_path_factory.mktemp("services"))
    private.up()
    yield private
    private.down(purge=True)


@pytest.fixture(scope="session")
def provisioned_broker(services: LocalServices) -> str:
    url = services.environment()["WORKER_BROKER_URL"]
    declare(url, topology())
    return url


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[SqlRepository]:
    """A database of the test's own."""
    url = f"sqlite:///{tmp_path}/leveret.db"
    upgrade(url)
    rows = SqlRepository(url)
    yield rows
    await rows.close()


@pytest.fixture
async def broker(provisioned_broker: str, services: LocalServices) -> AsyncIterator[Broker]:
    """The test's own hands on the broker, whose queues are empty."""
    async with broker_hands(provisioned_broker, services.environment()["RABBITMQ_MANAGEMENT_URL"]) as hands:
        yield hands


@pytest.fixture
async def rig(provisioned_broker: str, broker: Broker, repository: SqlRepository, tmp_path: Path) -> AsyncIterator[Rig]:
    """One worker's engine in this process."""
    rig = Rig(provisioned_broker, repository, tmp_path)
    yield rig
    await rig.close()


@pytest.fixture
def broker_url(provisioned_broker: str) -> str:
    with pika.BlockingConnection(pika.URLParameters(provisioned_broker)) as connection:
        channel = connection.channel()
        for queue in topology().queues:
            channel.queue_purge(queue.name)
    return provisioned_broker


@pytest.fixture
def office(desk: Desk, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose broker answers."""
    monkeypatch.setenv("WORKER_BROKER_URL", broker_url)
    return desk
