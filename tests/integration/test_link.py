"""A link comes back whatever happened to its connection."""

from __future__ import annotations

import asyncio
import socket

import pytest

from infra.broker import declare
from worker.adapters.publisher import Publisher
from worker.adapters.rabbitmq import Link
from worker.core.routing import DEAD_QUEUE, topology

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_a_connection_whose_end_aio_pika_never_heard_of_is_replaced(provisioned_broker):
    link = Link(provisioned_broker, "the link of a test", confirms=False, patience=10)
    await link.channel()
    # What a restarted broker leaves: the driver below has ended, and the connection above does not count as closed.
    await link._connection.transport.connection.close()
    assert not link._connection.is_closed
    async with asyncio.timeout(10):
        channel = await link.channel()
        await channel.get_exchange("media.jobs")
    await link.close()


async def test_of_several_nodes_the_first_that_answers_is_used_by_all_that_speak_with_the_broker(provisioned_broker):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nodes = f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}/,{provisioned_broker}"
        link = Link(nodes, "the link of a test", confirms=False, patience=0)
        async with asyncio.timeout(10):
            await (await link.channel()).get_exchange("media.jobs")
        assert link.address in provisioned_broker
        await link.close()
        with Publisher(nodes) as publisher:
            assert publisher.waiting(DEAD_QUEUE) >= 0
        assert "stand" in declare(nodes, topology())
