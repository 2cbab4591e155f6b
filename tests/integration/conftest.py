"""One private RabbitMQ for the integration tests, with our topology; every test finds its queues empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pika
import pytest

from infra.broker import declare
from infra.local import LocalServices
from tests.support.databases import provision
from tests.support.engine import Broker, Harness, broker_access
from worker.adapters.sql import SqlRepository
from worker.core.topology import topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.command_line import CommandLine


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
    rows = SqlRepository(provision(tmp_path / "leveret.db"))
    yield rows
    await rows.close()


@pytest.fixture
async def broker(provisioned_broker: str, services: LocalServices) -> AsyncIterator[Broker]:
    """The test's own access to the broker, whose queues are empty."""
    async with broker_access(provisioned_broker, services.environment()["RABBITMQ_MANAGEMENT_URL"]) as access:
        yield access


@pytest.fixture
async def harness(
    provisioned_broker: str, broker: Broker, repository: SqlRepository, tmp_path: Path
) -> AsyncIterator[Harness]:
    """One worker's engine in this process."""
    harness = Harness(provisioned_broker, repository, tmp_path)
    yield harness
    await harness.close()


@pytest.fixture
def broker_url(provisioned_broker: str) -> str:
    with pika.BlockingConnection(pika.URLParameters(provisioned_broker)) as connection:
        channel = connection.channel()
        for queue in topology().queues:
            channel.queue_purge(queue.name)
    return provisioned_broker


@pytest.fixture
def cli_with_broker(cli: CommandLine, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A command line whose broker answers."""
    monkeypatch.setenv("WORKER_BROKER_URL", broker_url)
    return cli
