"""AMQP 1.0 by hand: values, sections and frames that no library writes, and a sender for RabbitMQ 4."""

from __future__ import annotations

import socket
import struct
from typing import Self
from urllib.parse import unquote, urlsplit

NULL, TRUE, FALSE = b"\x40", b"\x41", b"\x42"
OUTCOMES = {0x24: "accepted", 0x25: "rejected", 0x26: "released", 0x27: "modified"}
PROPERTIES = (
    "message_id", "user_id", "to", "subject", "reply_to", "correlation_id", "content_type", "content_encoding",
    "absolute_expiry_time", "creation_time", "group_id", "group_sequence", "reply_to_group_id",
)  # fmt: skip


def uint(number: int) -> bytes:
    return b"\x70" + struct.pack(">I", number)


def ubyte(number: int) -> bytes:
    return bytes((0x50, number))


def text(value: str | bytes) -> bytes:
    return b"\xb1" + _sized(value)


def symbol(value: str | bytes) -> bytes:
    return b"\xb3" + _sized(value)


def binary(value: bytes) -> bytes:
    return b"\xb0" + _sized(value)


def several(*items: bytes) -> bytes:
    body = b"".join(items)
    return b"\xd0" + struct.pack(">II", len(body) + 4, len(items)) + body


def mapping(*pairs: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + value for name, value in pairs)
    return b"\xd1" + struct.pack(">II", len(body) + 4, 2 * len(pairs)) + body


def described(code: int, value: bytes) -> bytes:
    return bytes((0x00, 0x53, code)) + value


def deep(levels: int) -> bytes:
    value = NULL
    for _ in range(levels):
        value = several(value)
    return value


def properties(**given: bytes) -> bytes:
    return described(0x73, several(*(given.get(name, NULL) for name in PROPERTIES)))


def annotations(*pairs: tuple[bytes, bytes]) -> bytes:
    return described(0x72, mapping(*pairs))


def application(*pairs: tuple[bytes, bytes]) -> bytes:
    return described(0x74, mapping(*pairs))


def data(body: bytes) -> bytes:
    return described(0x75, binary(body))


def frame(body: bytes, kind: int = 0) -> bytes:
    return struct.pack(">IBBH", len(body) + 8, 2, kind, 0) + body


def _sized(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">I", len(raw)) + raw


ODD: dict[str, tuple[bytes, bytes]] = {
    "nothing odd": (b"", b""),
    "content type": (properties(content_type=symbol("c" * 300)), b""),
    "content encoding": (properties(content_encoding=symbol(b"\xff" * 300)), b""),
    "ids": (properties(message_id=text("i" * 1000), correlation_id=binary(b"\xfe" * 300)), b""),
    "ids of another kind": (properties(message_id=b"\x80" + b"\xff" * 8, correlation_id=b"\x98" + bytes(16)), b""),
    "groups": (properties(group_id=text("g" * 1000), reply_to_group_id=text(b"\xff")), b""),
    "addresses": (properties(to=text("z" * 1000), subject=text("s" * 1000), reply_to=text("r" * 500)), b""),
    "times": (properties(creation_time=b"\x83\x80" + bytes(7), absolute_expiry_time=b"\x83" + b"\x7f" * 8), b""),
    "expiry": (described(0x70, several(TRUE, ubyte(9), uint(1))) + properties(content_type=symbol("c" * 300)), b""),
    "a name of a property": (application((text("k" * 1000), text("v"))), b""),
    "no UTF-8": (application((text(b"\xff"), text(b"\xff")), (text("s"), symbol(b"\xff"))), b""),
    "values of every kind": (
        application(
            (text("nan"), b"\x72\x7f\xc0\x00\x00"), (text("decimal"), b"\x94" + b"\xff" * 16),
            (text("char"), b"\x73\x00\x00\xd8\x00"), (text("time"), b"\x83\x80" + bytes(7)),
            (text("none"), NULL), (text("x-attempt"), uint(3)), (text("x-death"), text("rejected")),
        ),
        b"",
    ),
    "a deep annotation": (annotations((symbol("x-deep"), deep(2000))), b""),
    "routes": (annotations((symbol("x-cc"), several(text("cpu.high"), text("cpu.low")))), b""),
    "marks of ours": (
        annotations((symbol("x-death-mark"), text("a" * 32)), (symbol("x-lane"), text("nvenc"))), b""
    ),
    "many annotations": (annotations(*((symbol(f"x-{number}"), text("v")) for number in range(3000))), b""),
    "a footer": (b"", described(0x78, mapping((symbol("x-f"), deep(50))))),
}  # fmt: skip
"""What stands before and after the body, by what is odd about it: AMQP 0-9-1 has no place for most of it."""


class Sender:
    """Publishes to `media.jobs` of a RabbitMQ 4 at `url`, sections as they are given; a context manager."""

    def __init__(self, url: str, key: str = "cpu.normal") -> None:
        self._url = urlsplit(url)
        self._address = f"/exchanges/media.jobs/{key}"
        self._rest = b""
        self._number = 0

    def __enter__(self) -> Self:
        self._socket = socket.create_connection((self._url.hostname, self._url.port), timeout=30)
        self._socket.sendall(b"AMQP\x03\x01\x00\x00")
        self._read(8)
        self._frame()
        user, password = unquote(self._url.username or ""), unquote(self._url.password or "")
        login = binary(f"\0{user}\0{password}".encode())
        self._send(described(0x41, several(symbol("PLAIN"), login, NULL)), 1)
        self._frame()
        self._socket.sendall(b"AMQP\x00\x01\x00\x00")
        self._read(8)
        self._send(described(0x10, several(text("foreign"), text("vhost:/"), uint(1 << 20))))
        self._send(described(0x11, several(NULL, uint(0), uint(1000), uint(1000))))
        target = described(0x29, several(text(self._address)))
        source = described(0x28, several(text("foreign")))
        link = several(text("foreign"), uint(0), FALSE, ubyte(0), ubyte(0), source, target, NULL, NULL, uint(0))
        self._send(described(0x12, link))
        self._wanted(0x13)
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def publish(self, message: bytes) -> str:
        """Return the broker's outcome."""
        tag = binary(b"%d" % self._number)
        fields = several(uint(0), uint(self._number), tag, uint(0), FALSE, FALSE)
        self._send(described(0x14, fields) + message)
        self._number += 1
        said = self._wanted(0x15)
        return next((name for code, name in OUTCOMES.items() if bytes((0x00, 0x53, code)) in said), repr(said))

    def _wanted(self, code: int) -> bytes:
        while (said := self._frame())[2] != code:
            if said[2] in {0x16, 0x17, 0x18}:
                raise ConnectionError(f"the broker ended it: {said!r}")
        return said

    def _send(self, body: bytes, kind: int = 0) -> None:
        self._socket.sendall(frame(body, kind))

    def _read(self, size: int) -> bytes:
        while len(self._rest) < size:
            if not (chunk := self._socket.recv(1 << 16)):
                raise ConnectionError("the broker closed the connection")
            self._rest += chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _frame(self) -> bytes:
        while True:
            size = struct.unpack(">I", self._read(4))[0]
            if body := self._read(size - 4)[4:]:
                return body
