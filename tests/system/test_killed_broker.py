"""A broker that is killed within a second of a declaration: what RabbitMQ 3.10.8 makes of the newest quorum queue."""

from __future__ import annotations

import asyncio

import pika
import pytest
import structlog
from structlog.testing import LogCapture

from infra.broker import declare
from infra.local import LocalServices
from worker.adapters.rabbitmq.consumer import RabbitConsumer
from worker.adapters.rabbitmq.link import Link
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.attempt import Completed, Settlement
from worker.core.topology import topology

pytestmark = pytest.mark.xdist_group("infra")

HEARTBEAT_SECONDS = 4
LEADERLESS = "media.cpu.low"
LOST = "broker_lost_while_waiting"
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


def version(url):
    with Publisher(url) as publisher:
        return publisher.version


def kill(services):
    services.kill("rabbitmq")
    services.start("rabbitmq")


def test_every_queue_has_a_leader_when_the_broker_is_killed_right_after_provisioning(services, url):
    declare(url, TOPOLOGY)
    kill(services)
    for queue in TOPOLOGY.queues:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            assert connection.channel().basic_get(queue.name)[0] is None


async def test_a_queue_without_a_leader_is_named_and_keeps_no_job_of_the_others_from_idle_workers(
    services, url, monkeypatch
):
    monkeypatch.setattr("worker.adapters.rabbitmq.link.HEARTBEAT_SECONDS", HEARTBEAT_SECONDS)
    logged = LogCapture()
    log = structlog.wrap_logger(None, [logged], structlog.BoundLogger)
    monkeypatch.setattr("worker.adapters.rabbitmq.consumer.log", log)
    declare(url, TOPOLOGY)
    arguments = next(queue.arguments for queue in TOPOLOGY.queues if queue.name == LEADERLESS)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(LEADERLESS)
        connection.channel().queue_declare(LEADERLESS, durable=True, arguments=dict(arguments))
    kill(services)
    if version(url) >= (4, 3):
        # This broker keeps the queue's leader: there is nothing to name.
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            assert connection.channel().basic_get(LEADERLESS)[0] is None
        return
    consumers = [worker(url, f"killed {number}") for number in range(2)]
    waiting = [asyncio.create_task(consumer.next()) for consumer in consumers]
    async with asyncio.timeout(10 * HEARTBEAT_SECONDS):
        while len(refusals := [log["error"] for log in logged.entries if log["event"] == LOST]) < 4:
            await asyncio.sleep(0.05)
    # The queue is let alone now: neither does the fleet ask it without a pause, nor does a job come and go.
    ended, _ = await asyncio.wait(waiting, timeout=HEARTBEAT_SECONDS)
    assert not ended
    with Publisher(url) as publisher:
        publisher.publish_job(b"{}", "1", "cpu", "normal", dialect="canonical")
    keeps_old_consumers = version_of(url) >= (4,)
    limit = 120 if keeps_old_consumers else 2 * HEARTBEAT_SECONDS
    (done,), _ = await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    await done.result().settle(Settlement(Completed()))
    for wait, consumer in zip(waiting, consumers, strict=True):
        wait.cancel()
        await asyncio.wait({wait})
        await consumer.close()
    assert len([log for log in logged.entries if log["event"] == LOST]) == len(refusals) == 4
    assert all(error.startswith(f"no consumer on {LEADERLESS}: ") for error in refusals)
    # RabbitMQ 4.0 leaves the other consumers of a stuck channel in place until it gives that channel up, about a
    # minute later: the job goes to them and comes back.
    assert keeps_old_consumers or "x-delivery-count" not in done.result().headers


def version_of(url):
    """Return the broker's version, as numbers."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return tuple(int(part) for part in connection._impl.server_properties["version"].split(".")[:2])


def worker(url, tag):
    links = Link(url, "jobs", confirms=False), Link(url, "copies", confirms=True)
    return RabbitConsumer(*links, ("media.cpu.high", "media.cpu.normal", LEADERLESS), tag=tag)
