"""Frames that no client decodes as they come: what becomes readable, and what stays as it was."""

from __future__ import annotations

import struct

import pamqp.frame
import pika.frame
import pytest
from aio_pika import IncomingMessage
from aiormq.abc import DeliveredMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands

from worker.adapters.rabbitmq.frames import MAX_PAIRS, MAX_VALUES, readable, take_frames

SHORTS = {"content_type": 15, "correlation_id": 10, "reply_to": 9, "message_id": 7, "type": 5, "app_id": 3}


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHL", kind, 1, len(payload)) + payload + b"\xce"


def header(properties: dict[int, bytes]) -> bytes:
    flags = sum(1 << bit for bit in properties)
    values = b"".join(properties[bit] for bit in sorted(properties, reverse=True))
    return frame(2, struct.pack(">HHQ", 60, 0, 2) + struct.pack(">H", flags) + values)


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def long(text: bytes) -> bytes:
    return struct.pack(">L", len(text)) + text


def pair(name: bytes, value: bytes) -> bytes:
    return short(name) + value


def table(*pairs: bytes) -> bytes:
    return long(b"".join(pairs))


def deep(levels: int) -> bytes:
    value = b"V"
    for _ in range(levels):
        value = b"F" + table(pair(b"a", value))
    return value


def decoded(raw: bytes) -> tuple[IncomingMessage, pika.BasicProperties]:
    """Return what both clients make of a content header."""
    ready = readable(raw)
    head = pamqp.frame.unmarshal(ready)[2]
    deliver = commands.Basic.Deliver("tag", 1, False, "media.jobs", "cpu.normal")
    message = IncomingMessage(DeliveredMessage(delivery=deliver, header=head, body=b"{}", channel=None))
    consumed, theirs = pika.frame.decode_frame(ready)
    assert consumed == len(ready)
    return message, theirs.properties


def test_a_header_with_nothing_wrong_stays_as_it_is():
    headers = {"x-attempt": 1, "ü": [1, "x"]}
    properties = commands.Basic.Properties("application/json", headers=headers, message_id="a", delivery_mode=2)
    raw = pamqp.frame.marshal(pamqp.header.ContentHeader(body_size=2, properties=properties), 1)
    assert readable(raw) == raw


@pytest.mark.parametrize(("name", "bit"), SHORTS.items())
def test_a_property_that_is_no_utf_8_is_replaced(name, bit):
    message, theirs = decoded(header({bit: short(b"a\xff\x00")}))
    assert getattr(message, name) == "a\ufffd\ufffd"
    assert getattr(theirs, name) == "a\ufffd\ufffd"


def test_a_repaired_message_id_stays_within_its_limit():
    message, _ = decoded(header({7: short(b"\xff" * 255)}))
    assert message.message_id == "\ufffd" * 85


@pytest.mark.parametrize("seconds", [253_402_300_800_000, 2**62, 2**64 - 1])
def test_a_time_that_no_calendar_has_is_left_out(seconds):
    stamped = pair(b"at", b"T" + struct.pack(">Q", seconds))
    message, theirs = decoded(header({13: table(stamped), 6: struct.pack(">Q", seconds), 7: short(b"id")}))
    assert (message.timestamp, theirs.timestamp, message.message_id, message.headers) == (None, None, "id", {})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_left_out(number):
    message, theirs = decoded(header({13: table(pair(b"n", b"d" + struct.pack(">d", number)), pair(b"o", b"t\x01"))}))
    assert message.headers == theirs.headers == {"o": True}


def test_a_header_whose_name_is_no_utf_8_is_left_out():
    message, _ = decoded(header({13: table(pair(b"\xff", b"V"), pair(b"b", b"b\x05"))}))
    assert message.headers == {"b": 5}


def test_a_table_of_three_thousand_levels_is_cut():
    message, theirs = decoded(header({13: table(pair(b"deep", deep(3000)), pair(b"x-attempt", b"b\x02"))}))
    assert message.headers["x-attempt"] == theirs.headers["x-attempt"] == 2


@pytest.mark.parametrize("mode", [0, 3, 255])
def test_a_delivery_mode_that_there_is_not_is_left_out(mode):
    decoded(header({12: bytes([mode])}))


def test_an_expiration_that_is_no_number_is_left_out():
    message, _ = decoded(header({8: short(b"soon")}))
    assert message.expiration is None


def test_of_many_headers_a_number_is_kept_and_all_of_ours():
    foreign = [pair(f"f{number}".encode(), b"V") for number in range(5000)]
    message, _ = decoded(header({13: table(*foreign, pair(b"x-attempt", b"b\x03"))}))
    assert message.headers["x-attempt"] == 3
    assert len(message.headers) == MAX_PAIRS + 1


def test_the_broker_s_own_death_is_kept_before_a_forged_one_that_cannot_be_read():
    entry = table(pair(b"reason", b"S" + long(b"expired")), pair(b"count", b"l" + struct.pack(">q", 1)))
    deaths = b"A" + long(b"F" + entry + deep(2000))
    message, _ = decoded(header({13: table(pair(b"x-death", deaths))}))
    assert message.headers["x-death"][0]["reason"] == "expired"


def test_of_many_values_in_one_header_a_number_is_kept():
    """Both clients copy what is left of a frame for each value: a hundred thousand would hold the event loop."""
    arrays = [pair(f"f{number}".encode(), b"A" + long(b"V" * 4000)) for number in range(30)]
    message, theirs = decoded(header({13: table(*arrays)}))
    assert all(len(values) < MAX_VALUES for values in message.headers.values())
    assert message.headers == theirs.headers


@pytest.mark.parametrize(
    ("method", "before"),
    [
        (60, short(b"tag") + struct.pack(">QB", 7, 0)),
        (71, struct.pack(">QB", 7, 1)),
        (50, struct.pack(">H", 312) + short(b"NO_ROUTE")),
    ],
)
def test_a_routing_key_that_is_no_utf_8_is_replaced(method, before):
    after = struct.pack(">L", 3) if method == 71 else b""
    raw = frame(1, struct.pack(">HH", 60, method) + before + short(b"media.jobs") + short(b"cpu.\xff") + after)
    ready = readable(raw)
    _, _, ours = pamqp.frame.unmarshal(ready)
    _, theirs = pika.frame.decode_frame(ready)
    assert (ours.exchange, ours.routing_key) == ("media.jobs", "cpu.\ufffd")
    assert (theirs.method.exchange, theirs.method.routing_key) == ("media.jobs", "cpu.\ufffd")


def test_frames_are_taken_as_they_become_whole():
    raw = header({7: short(b"\xff")}) + frame(3, b"\xff\xff")
    received, taken = bytearray(), b""
    for number in raw:
        received.append(number)
        taken += take_frames(received)
    assert taken == header({7: short("\ufffd".encode())}) + frame(3, b"\xff\xff")
    assert not received


def test_a_broker_that_speaks_another_version_is_left_to_the_client():
    assert take_frames(bytearray(b"AMQP\x00\x01\x00\x00")) == b"AMQP\x00\x01\x00\x00"


VALUES = st.one_of(
    st.binary(max_size=40).map(lambda raw: b"S" + long(raw)),
    st.integers(0, 2**64 - 1).map(lambda number: b"T" + struct.pack(">Q", number)),
    st.binary(min_size=8, max_size=8).map(lambda raw: b"d" + raw),
    st.binary(min_size=4, max_size=4).map(lambda raw: b"f" + raw),
    st.binary(min_size=5, max_size=5).map(lambda raw: b"D" + raw),
    st.sampled_from((b"V", b"t\x02", b"b\xff", b"u\xff\xff", b"l" + b"\x80" * 8, b"x" + long(b"\xff"))),
    st.binary(max_size=12),
)
NESTED = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: b"A" + long(b"".join(values))),
        st.lists(st.tuples(st.binary(max_size=5), inner), max_size=4).map(
            lambda pairs: b"F" + table(*(pair(name, value) for name, value in pairs))
        ),
    ),
    max_leaves=12,
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        **{bit: st.binary(max_size=255).map(short) for bit in (15, 14, 10, 9, 8, 7, 5, 4, 3, 2)},
        13: st.lists(st.tuples(st.binary(max_size=9), NESTED), max_size=5).map(
            lambda pairs: table(*(pair(name, value) for name, value in pairs))
        ),
        **{bit: st.binary(min_size=1, max_size=1) for bit in (12, 11)},
        6: st.binary(min_size=8, max_size=8),
    },
)


@given(PROPERTIES)
@settings(max_examples=300)
def test_any_properties_are_decoded_by_both_clients(properties):
    decoded(header(properties))


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_a_payload_of_any_bytes_is_read_or_left_as_it_is(payload):
    for kind in (1, 2, 3, 8):
        readable(frame(kind, payload))
        readable(frame(kind, struct.pack(">HH", 60, 60) + payload))
