"""What hostile publishers write into the properties of a message, byte by byte: no client of ours encodes it."""

from __future__ import annotations

import struct

import pika

from worker.core.routing import JOBS


class RawProperties(pika.BasicProperties):
    """Properties whose values are bytes of our own, each under its bit."""

    def __init__(self, values: dict[int, bytes]) -> None:
        super().__init__()
        self.values = values

    def encode(self):
        flags = sum(1 << bit for bit in self.values)
        return [struct.pack(">H", flags), *(self.values[bit] for bit in sorted(self.values, reverse=True))]


def short(text: bytes | str) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return bytes([len(raw)]) + raw


def long(raw: bytes) -> bytes:
    return struct.pack(">L", len(raw)) + raw


def table(*pairs: tuple[bytes | str, bytes]) -> bytes:
    return long(b"".join(short(name) + value for name, value in pairs))


def text(value: str) -> bytes:
    return b"S" + long(value.encode())


def array(*values: bytes) -> bytes:
    return b"A" + long(b"".join(values))


def deep(levels: int) -> bytes:
    value = b"V"
    for _ in range(levels):
        value = b"F" + table(("a", value))
    return value


HEADERS, PERSISTENT, EXPIRATION, MESSAGE_ID, TIMESTAMP, TYPE = 13, 12, 8, 7, 6, 5
UNDECODABLE: dict[str, dict[int, bytes]] = {
    "message id": {MESSAGE_ID: short(b"id \xff\xfe")},
    "message id with NUL": {MESSAGE_ID: short(b"id\x00")},
    "type": {MESSAGE_ID: short("foreign"), TYPE: short(b"\xff")},
    "reply address": {10: short(b"\xc3"), 9: short(b"\xff" * 255)},
    "timestamp": {TIMESTAMP: struct.pack(">Q", 2**62)},
    "largest timestamp": {TIMESTAMP: struct.pack(">Q", 2**64 - 1)},
    "header name": {HEADERS: table((b"\xff", text("x")))},
    "header time": {HEADERS: table(("at", b"T" + struct.pack(">Q", 2**60)))},
    "deep table": {HEADERS: table(("deep", deep(3000)))},
    "deep death": {HEADERS: table(("x-death", array(deep(2000))))},
    "many values": {HEADERS: table(("many", array(*[b"V"] * 60_000)))},
    "many headers": {HEADERS: table(*((f"h{number}", b"V") for number in range(5000)))},
}
"""Properties that RabbitMQ passes on and that clients cannot decode, or not in time, by what is wrong in them."""


def publish_raw(url: str, body: bytes, properties: dict[int, bytes], key: bytes | str = "cpu.normal") -> None:
    """Publish with these properties, each under its bit, persistent."""
    publish_all(url, [(body, properties, key)])


def publish_all(url: str, messages: list[tuple[bytes, dict[int, bytes], bytes | str]]) -> None:
    """Publish messages over one connection."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for body, properties, key in messages:
            channel.basic_publish(JOBS, key, body, RawProperties({PERSISTENT: b"\x02"} | properties))
