"""One private RabbitMQ for the integration tests, with our topology; every test finds its queues empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pika
import pytest

from infra.broker import declare
from infra.local import LocalServices
from worker.core.routing import topology

if TYPE_CHECKING:
    from collections.abc import Iterator


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
def broker_url(provisioned_broker: str) -> str:
    with pika.BlockingConnection(pika.URLParameters(provisioned_broker)) as connection:
        channel = connection.channel()
        for queue in topology().queues:
            channel.queue_purge(queue.name)
    return provisioned_broker
