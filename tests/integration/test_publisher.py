"""The publisher against a real broker."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from tests.support.queues import bury, channel_of, taken, wait_for_dead
from worker.adapters.kept import KeptBroker
from worker.adapters.rabbitmq.admin import RabbitAdmin
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.errors import BrokerUnavailable, Misconfigured
from worker.core.routing import DEAD_QUEUE, JOBS
from worker.core.topology import topology

BODY = b'{"job_id": "a-job", "tasks": [{"module": "echo", "data": {}}]}'


def test_a_published_job_is_persistent_and_says_who_it_is(broker_url):
    with Publisher(broker_url) as publisher:
        publisher.publish_job(BODY, "a-job", "nvenc", "high", {"x-extra": 1}, dialect="canonical")
    with channel_of(broker_url) as channel:
        method, properties, body = taken(channel, "media.nvenc.high")
        channel.basic_ack(method.delivery_tag)
    assert body == BODY
    assert properties.message_id == "a-job"
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/json"
    assert properties.type == "canonical"
    assert abs(properties.timestamp - time.time()) < 60
    assert properties.headers["x-lane"] == "nvenc"
    assert properties.headers["x-extra"] == 1
    assert datetime.fromisoformat(properties.headers["x-first-queued-at"]).tzinfo is not None


def test_a_key_that_nobody_bound_still_leads_to_the_cpu_lane(broker_url):
    with Publisher(broker_url) as publisher:
        publisher.publish_job(BODY, "a-job", "no-lane", "normal")
        assert publisher.count("media.cpu.normal") == 1


def test_looking_at_dead_letters_loses_none(broker_url, monkeypatch):
    bury(broker_url, [b"one", b"two", b"three"])
    # A busy broker counts a moment later what the look before gave back.
    monkeypatch.setattr(Publisher, "count", lambda *_: 0)
    for _ in range(3):
        with Publisher(broker_url) as publisher:
            assert sorted(letter.body for letter in publisher.dead_letters()) == [b"one", b"three", b"two"]


async def test_a_server_that_looks_at_dead_letters_sees_those_that_are_not_counted_yet(broker_url, monkeypatch):
    bury(broker_url, [b"one", b"two", b"three"])
    monkeypatch.setattr(Publisher, "count", lambda *_: 0)
    for _ in range(3):
        async with RabbitAdmin(broker_url) as admin:
            assert sorted([letter.body async for letter in admin.dead_letters()]) == [b"one", b"three", b"two"]


def test_a_looker_that_is_cut_off_loses_no_dead_letter(broker_url):
    bury(broker_url, [b"one", b"two"])
    publisher = Publisher(broker_url).__enter__()
    assert len(list(publisher.dead_letters())) == 2
    publisher._connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
    wait_for_dead(broker_url, 2)
    with pytest.raises(BrokerUnavailable):
        publisher.count(DEAD_QUEUE)
    publisher.__exit__(None, None, None)


def test_a_dead_letter_states_its_digest_its_id_and_when_it_died(broker_url):
    bury(broker_url, [BODY, b"no json"])
    with Publisher(broker_url) as publisher:
        letters = {letter.job_id: letter for letter in publisher.dead_letters()}
    assert set(letters) == {"a-job", "by-message"}
    letter = letters["a-job"]
    assert len(letter.digest) == 64
    assert letter.death == "rejected"
    assert letter.route == ("cpu", "low")
    assert abs((datetime.now(UTC) - letter.died_at).total_seconds()) < 60


def test_a_replay_carries_nothing_of_its_earlier_life(broker_url):
    old = {"x-attempt": 4, "x-round": 1, "x-last-error": "boom", "x-error-type": "ToolFailed", "x-mine": "lost"}
    bury(broker_url, [BODY], headers=old | {"x-first-queued-at": "2026-01-01T00:00:00+00:00", "CC": ["cpu.low"]})
    with Publisher(broker_url) as publisher:
        (letter,) = publisher.dead_letters()
        publisher.replay(letter, "a-job", "visualize", "high")
    with channel_of(broker_url) as channel:
        method, properties, body = taken(channel, "media.visualize.high")
        channel.basic_ack(method.delivery_tag)
    wait_for_dead(broker_url, 0)
    assert body == BODY
    assert properties.message_id == "a-job"
    assert properties.type == "canonical"
    first = "2026-01-01T00:00:00+00:00"
    # One header is the queue's own.
    reported = {
        name: value for name, value in properties.headers.items() if name != "x-delivery-count"
    }  # the queue's own
    assert reported == {"x-first-queued-at": first, "x-lane": "visualize"}


def test_a_discarded_letter_is_gone_and_its_neighbour_is_not(broker_url):
    bury(broker_url, [b"one", b"two"])
    with Publisher(broker_url) as publisher:
        for letter in publisher.dead_letters():
            if letter.body == b"one":
                publisher.discard(letter)
    wait_for_dead(broker_url, 1)
    with Publisher(broker_url) as publisher:
        assert [letter.body for letter in publisher.dead_letters()] == [b"two"]


def test_a_queue_with_other_arguments_is_reported_with_the_difference(broker_url):
    with channel_of(broker_url) as channel:
        channel.queue_delete("media.qsv.low")
        channel.queue_delete("media.qsv.high")
        channel.queue_declare("media.qsv.low", durable=True, arguments={"x-queue-type": "quorum"})
    try:
        with Publisher(broker_url) as publisher:
            reported = publisher.differences(topology().queues)
    finally:
        with channel_of(broker_url) as channel:
            channel.queue_delete("media.qsv.low")
            for queue in topology().queues:
                channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
                if queue.name.startswith("media.qsv"):
                    channel.queue_bind(queue.name, JOBS, queue.name.removeprefix("media."))
    assert len(reported) == 2
    assert "media.qsv.high is missing" in reported[0]
    assert "media.qsv.low has other arguments" in reported[1]
    assert "x-dead-letter-exchange" in reported[1]


def test_wrong_credentials_are_reported_as_such(broker_url):
    parts = urlsplit(broker_url)
    wrong = f"amqp://nobody:wrong@{parts.hostname}:{parts.port}/"
    with pytest.raises(Misconfigured, match="refuses the user 'nobody'") as caught, Publisher(wrong):
        pass
    assert "wrong@" not in str(caught.value)


def test_an_unknown_virtual_host_is_reported_as_such(broker_url):
    with pytest.raises(Misconfigured, match="virtual host"), Publisher(broker_url + "nowhere"):
        pass


def test_a_broker_that_is_not_there_is_reported_in_one_line():
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 does not answer \(Connection refused\)") as caught:
        Publisher("amqp://guest:guest@127.0.0.1:1/").__enter__()
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none_is_reported_without_its_password():
    with pytest.raises(Misconfigured, match="WORKER_BROKER_URL") as caught:
        Publisher("http://user:hush@127.0.0.1/").__enter__()
    assert "hush" not in str(caught.value)


def test_a_topology_that_is_not_there_names_the_command(services):
    url = services.environment()["WORKER_BROKER_URL"]
    with Publisher(url) as publisher, pytest.raises(Misconfigured, match="infra provision"):
        publisher.count("media.nothing")


def test_a_dead_letter_whose_id_is_no_text_is_seen_replayed_and_discarded_as_any_other(broker_url):
    bury(broker_url, [b"one", b"two"], message_id=b"\xff\xfe id")
    with Publisher(broker_url) as publisher:
        first, second = publisher.dead_letters()
        assert first.message_id == second.message_id == "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} id"
        publisher.replay(first, None, "cpu", "low")
        publisher.discard(second)
    wait_for_dead(broker_url, 0)
    with channel_of(broker_url) as channel:
        assert taken(channel, "media.cpu.low")[2] == first.body


async def test_a_shared_connection_publishes_again_after_the_broker_closed_it(broker_url, broker):
    opened = []

    def connect() -> RabbitAdmin:
        opened.append(RabbitAdmin(broker_url))
        return opened[-1]

    shared = KeptBroker(connect)
    try:
        for name in ("one", "two"):
            async with shared.lend() as lent:
                await lent.require_fleet("")
                await lent.publish_job(BODY, name, "cpu", "normal")
        assert len(opened) == 1
        # The other end says goodbye, as a broker does that is stopped.
        opened[0]._publisher._connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        async with shared.lend() as lent:
            await lent.publish_job(BODY, "three", "cpu", "normal")
        assert len(opened) == 2
    finally:
        await shared.close()
    assert [(await broker.take("media.cpu.normal")).message_id for _ in range(3)] == ["one", "two", "three"]
