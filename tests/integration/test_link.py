"""A link comes back whatever happened to its connection."""

from __future__ import annotations

import asyncio

import pytest

from worker.adapters.rabbitmq import Link

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
