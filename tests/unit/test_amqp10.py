"""AMQP 1.0 as far as we speak it, against a broker of a few lines. The fuzz has a real one where it is 4 or later."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import astuple

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.support.amqp10 import (
    FALSE,
    NULL,
    ODD,
    TRUE,
    annotations,
    application,
    binary,
    data,
    deep,
    described,
    frame,
    mapping,
    properties,
    several,
    symbol,
    text,
    ubyte,
    uint,
)
from worker.adapters.rabbitmq import amqp10
from worker.adapters.rabbitmq.amqp10 import Node, Receiver, Refused, sections, value_at
from worker.adapters.rabbitmq.frames import is_internal_error
from worker.adapters.rabbitmq.rescue import Foreign, Suspect, foreign, rescue

SASL, AMQP = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
LONG = properties(message_id=text("mine"), content_type=symbol("c" * 300))
POISON = LONG + data(b'{"a": ') + data(b"1}")
ACCEPTED, MODIFIED = bytes((0x00, 0x53, 0x24)), bytes((0x00, 0x53, 0x27))


class Broker:
    """Answers one client as RabbitMQ does, delivers `messages` in frames of `size` bytes, and keeps what it heard."""

    def __init__(self, messages: tuple[bytes, ...] = (), size: int = 1000, first: bytes = SASL, code: int = 0) -> None:
        self._messages, self._size, self._first, self._code = messages, size, first, code
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.node = Node("127.0.0.1", self._listener.getsockname()[1], "me", "mine", "/")
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, contextlib.suppress(OSError), client.makefile("rb") as received:
            received.read(8)
            client.sendall(self._first + frame(described(0x40, several(symbol("PLAIN"))), 1))
            self._hear(received)
            client.sendall(frame(described(0x44, several(ubyte(self._code))), 1))
            received.read(8)
            client.sendall(AMQP + frame(b"") + frame(described(0x10, several(text("broker")))))
            # open, begin
            self._hear(received)
            self._hear(received)
            client.sendall(frame(described(0x11, several(ubyte(0), uint(2**32 - 3), uint(100), uint(100)))))
            # attach, flow
            self._hear(received)
            self._hear(received)
            client.sendall(frame(described(0x12, several(text("leveret"), uint(0)))))
            for number, message in enumerate(self._messages):
                client.sendall(b"".join(self._transfers(number, message)))
            state = (uint(0), uint(9), uint(0), uint(9), uint(0), uint(len(self._messages)), uint(0))
            client.sendall(frame(described(0x13, several(*state))))
            while True:
                self._hear(received)

    def _transfers(self, number: int, message: bytes):
        pieces = [message[at : at + self._size] for at in range(0, len(message), self._size)]
        for index, piece in enumerate(pieces):
            more = TRUE if index < len(pieces) - 1 else FALSE
            own = (uint(0), uint(7 + number), binary(b"t"), uint(0), NULL, more) if index == 0 else (
                uint(0), NULL, NULL, NULL, NULL, more)  # fmt: skip
            yield frame(described(0x14, several(*own)) + piece)

    def _hear(self, received) -> None:
        head = received.read(4)
        if len(head) < 4:
            raise ConnectionError
        self.heard.append(received.read(struct.unpack(">I", head)[0] - 4))


def test_messages_come_whole_and_are_settled_each_by_its_number():
    plain = data(b"x" * 5000)
    with Broker((POISON, plain)) as broker, Receiver(broker.node, "media.dlq", 10) as receiver:
        first, second = receiver
        receiver.accept(first)
        receiver.give_back(second)
    assert (first.message, second.message) == (POISON, plain)
    settled = [words for words in broker.heard if ACCEPTED in words or MODIFIED in words]
    assert [uint(7) in settled[0], ACCEPTED in settled[0], uint(8) in settled[1], MODIFIED in settled[1]] == [True] * 4
    assert any(b"/queues/media.dlq" in words for words in broker.heard)
    assert any(b"\x00me\x00mine" in words for words in broker.heard)


def test_no_more_are_taken_than_were_asked_for():
    with Broker((POISON, POISON)) as broker, Receiver(broker.node, "media.dlq", 1) as receiver:
        assert len(list(receiver)) == 1


def test_a_broker_without_amqp_1_0_is_an_error_and_so_is_a_wrong_password():
    with Broker(first=b"AMQP\x00\x00\x09\x01") as broker, pytest.raises(Refused, match="answers"):
        Receiver(broker.node, "media.dlq", 1).__enter__()
    with Broker(code=1) as broker, pytest.raises(Refused, match="credentials"):
        Receiver(broker.node, "media.dlq", 1).__enter__()


def test_a_message_without_an_end_is_given_up(monkeypatch):
    monkeypatch.setattr(amqp10, "MAX_BYTES", 50_000)
    with Broker((bytes(50_001),), size=20_000) as broker, Receiver(broker.node, "q", 1) as receiver:
        found = iter(receiver)
        with pytest.raises(Refused, match="bytes"):
            next(found)


def test_of_a_message_over_amqp_1_0_body_id_death_and_our_headers_are_kept():
    dead = annotations((symbol("x-last-death-reason"), text("expired")), (symbol("x-attempt"), b"\x54\x02"))
    found = foreign(dead + POISON)
    assert (found.body, found.message_id, found.fits) == (b'{"a": 1}', "mine", False)
    assert found.headers == {"x-death": [{"reason": "expired", "count": 1}], "x-attempt": 2}
    for long in (application((text("k" * 256), NULL)), annotations((symbol("x-" + "k" * 300), NULL))):
        assert not foreign(long + data(b"x")).fits


PLAIN = properties(message_id=text("mine"), creation_time=b"\x83" + bytes(8)) + application((text("a"), ubyte(1)))
DOUBTFUL = {
    "an array": annotations((symbol("x-a"), b"\xe0\x02\x00\xa1")) + data(b"x"),
    "a footer": data(b"x") + described(0x78, mapping()),
    "a value": described(0x77, text("x")),
    "a decimal number": application((text("n"), b"\x94" + bytes(16))) + data(b"x"),
    "a cut section": PLAIN + b"\x00\x53\x75\xb0\x00",
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_message_that_is_not_plain_is_replaced_after_connections_were_lost(name):
    """It has perhaps not come back yet, so its place says little."""
    for place in (0, 1):
        published = rescued((PLAIN + data(b"ours"), DOUBTFUL[name]), Suspect(place, anywhere=True))
        assert [found.body for found in published] == [foreign(DOUBTFUL[name]).body]


def test_dead_letters_stay_as_they_are_but_for_the_one_that_a_connection_was_lost_to():
    messages = (DOUBTFUL["an array"], DOUBTFUL["a footer"], POISON)
    assert [found.body for found in rescued(messages, Suspect(0))] == [b"x", b'{"a": 1}']


def test_a_list_of_deaths_is_a_doubt_only_where_the_suspect_is():
    dead = annotations((symbol("x-opt-deaths"), b"\xe0\x02\x00\xd1"), (symbol("x-last-error"), text("why"))) + data(
        b"x"
    )
    assert rescued((dead, PLAIN + data(b"y")), Suspect(1)) == []
    (found,) = rescued((dead, PLAIN + data(b"y")), Suspect(0))
    assert found.headers == {"x-last-error": "why"}


def test_a_plain_message_is_replaced_only_when_it_is_certain_that_connections_are_lost_to_it():
    messages = (PLAIN + data(b"one"), PLAIN + data(b"two"))
    assert rescued(messages, Suspect(1)) == []
    (found,) = rescued(messages, Suspect(1, certain=True))
    assert (found.body, found.message_id) == (b"two", "mine")


def rescued(messages: tuple[bytes, ...], suspect: Suspect) -> list[Foreign]:
    """Return the copies that are published; what has none is given back, and what has one is accepted."""
    published: list[Foreign] = []
    with Broker(messages) as broker:
        host, port, user, password, virtual_host = astuple(broker.node)[:5]
        login = pika.PlainCredentials(user, password)
        node = pika.ConnectionParameters(host, port, virtual_host, login)
        assert rescue(node, "media.dlq", 10, suspect, published.append) == len(published)
    assert sum(ACCEPTED in words for words in broker.heard) == len(published)
    assert sum(MODIFIED in words for words in broker.heard) == len(messages) - len(published)
    return published


@pytest.mark.parametrize("name", ODD)
def test_every_odd_message_is_read(name):
    before, after = ODD[name]
    assert [value.raw for code, value in sections(before + data(b"body") + after) if code == 0x75] == [b"body"]


@given(some.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(raw):
    foreign(raw)
    foreign(LONG + raw)


def test_depth_is_no_matter():
    deeply = b"\x00" * 100_000 + b"\x40" * 100_001
    assert value_at(deeply, 0)[0] == len(deeply)
    assert not foreign(LONG + described(0x77, deep(20_000))).fits


def test_an_error_of_the_brokers_own_is_known_from_other_ends():
    def ended(code: int) -> bytes:
        payload = struct.pack(">HHH", 10, 50, code) + b"\x0eINTERNAL_ERROR" + bytes(4)
        return b"\x01\x00\x00" + struct.pack(">L", len(payload)) + payload + b"\xce"

    assert [is_internal_error(ended(code)) for code in (541, 320)] == [True, False]
    assert not is_internal_error(ended(541)[:12])
