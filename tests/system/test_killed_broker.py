"""A broker that is killed within a second of a declaration: what RabbitMQ 3.10.8 makes of the newest quorum queue."""

from __future__ import annotations

import asyncio

import pika
import pytest
from structlog.testing import capture_logs

from infra.broker import declare
from infra.local import LocalServices
from worker.adapters.publisher import Publisher
from worker.adapters.rabbitmq.consumer import RabbitConsumer
from worker.adapters.rabbitmq.link import Link
from worker.core.attempt import Completed
from worker.core.routing import topology

pytestmark = pytest.mark.xdist_group("infra")

HEARTBEAT_SECONDS = 2
LEADERLESS = "media.cpu.low"
TOPOLOGY = topology()


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    services = LocalServices(tmp_path_factory.mktemp("killed") / "state")
    try:
        services.start("rabbitmq")
        yield services
    finally:
        services.down(purge=True)


@pytest.fixture
def url(services):
    return services.environment()["WORKER_BROKER_URL"]


def kill(services):
    services.kill("rabbitmq")
    services.start("rabbitmq")


def test_every_queue_has_a_leader_when_the_broker_is_killed_right_after_provisioning(services, url):
    declare(url, TOPOLOGY)
    kill(services)
    for queue in TOPOLOGY.queues:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            assert connection.channel().basic_get(queue.name)[0] is None


async def test_a_queue_without_a_leader_is_named_and_keeps_no_job_from_the_others(services, url, monkeypatch):
    monkeypatch.setattr("worker.adapters.rabbitmq.link.HEARTBEAT_SECONDS", HEARTBEAT_SECONDS)
    declare(url, TOPOLOGY)
    arguments = next(queue.arguments for queue in TOPOLOGY.queues if queue.name == LEADERLESS)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(LEADERLESS)
        connection.channel().queue_declare(LEADERLESS, durable=True, arguments=dict(arguments))
    kill(services)
    queues = ("media.cpu.high", "media.cpu.normal", LEADERLESS)
    consumer = RabbitConsumer(
        Link(url, "jobs", confirms=False), Link(url, "copies", confirms=True), queues, tag="killed"
    )
    with capture_logs() as logs:
        waiting = asyncio.create_task(consumer.next())
        async with asyncio.timeout(10 * HEARTBEAT_SECONDS):
            while not logs:
                await asyncio.sleep(0.05)
        with Publisher(url) as publisher:
            publisher.publish_job(b"{}", "1", "cpu", "normal", dialect="canonical")
        delivery = await asyncio.wait_for(waiting, 10 * HEARTBEAT_SECONDS)
        await delivery.settle(Completed())
        await consumer.close()
    assert logs[0]["error"].startswith(f"no consumer on {LEADERLESS}: ")
