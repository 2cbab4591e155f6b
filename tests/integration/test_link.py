"""A link comes back whatever happened to its connection."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import warnings

import pytest
import structlog
from structlog.testing import LogCapture

from infra.broker import declare
from worker.adapters.rabbitmq import Link
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.errors import BrokerUnavailable
from worker.core.routing import DEAD_QUEUE
from worker.core.topology import topology

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_a_connection_whose_end_aio_pika_did_not_notice_is_replaced(provisioned_broker):
    link = Link(provisioned_broker, "the link of a test", confirms=False, wait_seconds=10)
    await link.channel()
    # What a restarted broker leaves: the driver below has ended, and the connection above does not count as closed.
    await link._connection.transport.connection.close()
    assert not link._connection.is_closed
    async with asyncio.timeout(10):
        channel = await link.channel()
        await channel.get_exchange("media.jobs")
    await link.close()


async def test_a_connection_that_never_came_about_is_collected_by_any_thread_in_silence(caplog):
    # As `logs.configure` has it: a record of the failure would hold the frames as well.
    caplog.set_level(logging.CRITICAL, logger="aiormq")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        link = Link(f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}/", "a test", confirms=False, wait_seconds=0)
        gc.disable()
        try:
            kept = []
            try:
                await link.channel()
            except BrokerUnavailable as error:
                # It holds the frames, and they the connection: the thread is the last to have it.
                kept.append(error)
            assert kept
            with warnings.catch_warnings(record=True) as logged:
                warnings.simplefilter("always")
                await asyncio.to_thread(lambda: (kept.clear(), gc.collect()))
        finally:
            gc.enable()
    assert [str(warning.message) for warning in logged] == []


async def test_a_connection_that_went_away_is_reported_in_words(provisioned_broker, monkeypatch):
    logged = LogCapture()
    monkeypatch.setattr(
        "worker.adapters.rabbitmq.link.log", structlog.wrap_logger(None, [logged], structlog.BoundLogger)
    )
    link = Link(provisioned_broker, "the link of a test", confirms=False, wait_seconds=10)
    await link.channel()
    await link._connection.transport.connection.close()
    await link.channel()
    await link.close()
    assert [entry["error"] for entry in logged.entries if entry["event"] == "broker_unreachable"] == [
        "the connection is closed"
    ]


async def test_of_several_nodes_the_first_that_answers_is_used_by_all_that_speak_with_the_broker(provisioned_broker):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nodes = f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}/,{provisioned_broker}"
        link = Link(nodes, "the link of a test", confirms=False, wait_seconds=0)
        async with asyncio.timeout(10):
            await (await link.channel()).get_exchange("media.jobs")
        assert link.address in provisioned_broker
        await link.close()
        with Publisher(nodes) as publisher:
            assert publisher.count(DEAD_QUEUE) >= 0
        assert "are declared" in declare(nodes, topology())
