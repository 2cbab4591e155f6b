"""AMQP 1.0, as much as it takes to get a message out of one queue of RabbitMQ 4, and to settle it.

A blocking client: one connection, one session, one link. Everything that a publisher wrote is read without recursion,
and bounded: a value is skipped by its size. (OASIS AMQP 1.0, part 1 for types, part 2 for frames, part 3 for messages.)
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ssl import SSLContext
    from types import TracebackType

SECONDS: Final = 10.0
MAX_BYTES: Final = 20 << 20
"""More than `max_message_size` of our brokers, properties and all."""
FRAME_BYTES: Final = 1 << 20
CUT: Final = (IndexError, struct.error, UnicodeDecodeError)
"""The errors of reading bytes that end too early."""

_SASL, _AMQP = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
_OPEN, _BEGIN, _ATTACH, _FLOW, _TRANSFER, _DISPOSITION, _DETACH, _END, _CLOSE = range(0x10, 0x19)
_INIT, _OUTCOME = 0x41, 0x44
_SOURCE, _TARGET, _ACCEPTED, _MODIFIED = 0x28, 0x29, 0x24, 0x27
_NULL, _TRUE, _FALSE = b"\x40", b"\x41", b"\x42"
_FRAME_HEAD: Final = 8
_WINDOW: Final = 1 << 20
_WIDTHS: Final = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
"""Bytes of a value, by the first digit of its constructor; what is not here begins with its size."""


class Section(IntEnum):
    """The sections of a message that matter here."""

    HEADER = 0x70
    ANNOTATIONS = 0x72
    PROPERTIES = 0x73
    APPLICATION = 0x74
    DATA = 0x75
    SEQUENCE = 0x76
    VALUE = 0x77


class Refused(Exception):
    """The broker does not speak AMQP 1.0, or ended the conversation."""


class Value(NamedTuple):
    """A value without its descriptor: its constructor, and its bytes without their size."""

    kind: int
    raw: bytes

    @property
    def text(self) -> str | None:
        """Return a string or a symbol as text; None for every other kind."""
        return self.raw.decode(errors="replace") if self.kind in {0xA1, 0xB1, 0xA3, 0xB3} else None

    @property
    def number(self) -> int:
        """Return an unsigned number or a boolean, 0 for what is none."""
        if self.kind in {0x41, 0x56}:
            return int(self.kind == 0x41 or self.raw != b"\x00")  # noqa: PLR2004 - the constructor of true
        return int.from_bytes(self.raw, "big") if self.kind >> 4 in _WIDTHS else 0

    def items(self) -> list[Value]:
        """Return the values of a list, or names and values of a map in turn; none for every other kind."""
        if self.kind not in {0xC0, 0xC1, 0xD0, 0xD1}:
            return []
        at, found = 1 if self.kind < 0xD0 else 4, []  # noqa: PLR2004 - their counts have one byte or four
        while at < len(self.raw):
            at, value = value_at(self.raw, at)
            found.append(value)
        return found


def value_at(data: bytes, at: int) -> tuple[int, Value]:
    """Return where the next value begins, and the one at `at`, whatever descriptors it has."""
    left, value = 1, Value(0x40, b"")
    while left:
        kind, at = data[at], at + 1
        if kind == 0:
            # A descriptor and a value, each of which may be described itself.
            left += 1
            continue
        left -= 1
        end = at
        if (width := _WIDTHS.get(kind >> 4)) is None:
            wide = kind >> 4 in {0xB, 0xD, 0xF}
            size = int(struct.unpack_from(">I", data, at)[0]) if wide else data[at]
            at += 4 if wide else 1
            width = size
        end = at + width
        if end > len(data):
            raise IndexError(end)
        at, value = end, Value(kind, data[at:end])
    return at, value


def sections(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the sections of a message, each by its code; an IndexError where it is cut."""
    at = 0
    while at < len(message):
        _, code = value_at(message, at + 1)
        at, value = value_at(message, at)
        yield code.number, value


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the broker, and who asks."""

    host: str
    port: int
    user: str
    password: str
    virtual_host: str
    tls: SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A message that waits to be settled."""

    number: int
    message: bytes


class Receiver:
    """Takes messages of `queue`, at most `most` of them, and settles them; use as a context manager.

    Refused where the broker has no AMQP 1.0; OSError where it is away.
    """

    def __init__(self, node: Node, queue: str, most: int) -> None:
        self._node = node
        self._queue = queue
        self._most = most
        self._rest = bytearray()

    def __enter__(self) -> Self:
        """Connect, and ask for messages."""
        plain = socket.create_connection((self._node.host, self._node.port), SECONDS)
        self._socket = plain
        try:
            if self._node.tls is not None:
                self._socket = self._node.tls.wrap_socket(plain, server_hostname=self._node.host)
            self._introduce()
            self._send(_BEGIN, _NULL, _uint(0), _uint(_WINDOW), _uint(_WINDOW))
            begun = self._await(_BEGIN)
            first = begun[1].number if len(begun) > 1 else 0
            source = _described(_SOURCE, _list(_string(f"/queues/{self._queue}")))
            target = _described(_TARGET, _list(_string("leveret")))
            self._send(_ATTACH, _string("leveret"), _uint(0), _TRUE, b"\x50\x00", b"\x50\x00", source, target)
            # With `drain`, so that the broker says when there is no more.
            window = (_uint(first), _uint(_WINDOW), _uint(0), _uint(_WINDOW))
            self._send(_FLOW, *window, _uint(0), _uint(0), _uint(self._most), _NULL, _TRUE)
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the conversation; what was not settled goes back."""
        with contextlib.suppress(OSError):
            self._send(_CLOSE)
        self._socket.close()

    def __iter__(self) -> Iterator[Held]:
        """Yield the messages of the queue, each held until it is settled."""
        parts, number, left = bytearray(), 0, self._most
        while left:
            code, fields, payload = self._frame()
            if code == _FLOW and len(fields) > 6 and fields[4].kind != 0x40 and not fields[6].number:  # noqa: PLR2004 - the credit
                return
            if code != _TRANSFER:
                continue
            number = fields[1].number if len(fields) > 1 and not parts else number
            parts += payload
            if len(parts) > MAX_BYTES:
                raise Refused(f"a message has more than {MAX_BYTES} bytes")
            if len(fields) <= 5 or not fields[5].number:  # noqa: PLR2004 - the field `more`
                yield Held(number, bytes(parts))
                parts.clear()
                left -= 1

    def accept(self, held: Held) -> None:
        """Delete a message from the queue."""
        self._settle(held, _described(_ACCEPTED, _list()))

    def give_back(self, held: Held) -> None:
        """Return a message to its place; that is not counted as a delivery."""
        self._settle(held, _described(_MODIFIED, _list(_FALSE, _FALSE)))

    def _settle(self, held: Held, state: bytes) -> None:
        self._send(_DISPOSITION, _TRUE, _uint(held.number), _uint(held.number), _TRUE, state)

    def _introduce(self) -> None:
        """Say who we are, and open the connection."""
        self._socket.sendall(_SASL)
        self._require(_SASL)
        self._frame()
        user, password = self._node.user.encode(), self._node.password.encode()
        answer = b"\x00" + user + b"\x00" + password
        self._send(_INIT, _symbol("PLAIN"), b"\xb0" + struct.pack(">I", len(answer)) + answer, sasl=True)
        code, fields, _ = self._frame()
        if code != _OUTCOME or not fields or fields[0].number:
            raise Refused("the broker refuses these credentials over AMQP 1.0")
        self._socket.sendall(_AMQP)
        self._require(_AMQP)
        host = f"vhost:{self._node.virtual_host}"
        self._send(_OPEN, _string("leveret"), _string(host), _uint(FRAME_BYTES))

    def _require(self, head: bytes) -> None:
        if (said := self._read(len(head))) != head:
            raise Refused(f"the broker answers {said!r}")

    def _read(self, size: int) -> bytes:
        while len(self._rest) < size:
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise Refused("the broker closed the connection")
            self._rest += chunk
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken

    def _await(self, wanted: int) -> list[Value]:
        """Return the fields of the next performative of that code."""
        while True:
            code, fields, _ = self._frame()
            if code == wanted:
                return fields

    def _frame(self) -> tuple[int, list[Value], bytes]:
        """Return the next performative: its code, its fields, and what follows it; Refused where it is an end."""
        while True:
            size, words = struct.unpack(">IBxxx", self._read(_FRAME_HEAD))
            if not _FRAME_HEAD <= size <= FRAME_BYTES + _FRAME_HEAD:
                raise Refused(f"the broker sent a frame of {size} bytes")
            body = self._read(size - _FRAME_HEAD)[4 * words - _FRAME_HEAD :]
            if not body:
                # A heartbeat.
                continue
            try:
                _, code = value_at(body, 1)
                end, value = value_at(body, 0)
                fields = value.items()
            except CUT as error:
                raise Refused("the broker sent a frame that is cut") from error
            if code.number in {_DETACH, _END, _CLOSE}:
                said = [field.text for error in fields for field in error.items() if field.text]
                raise Refused(": ".join(said) or f"the broker ended it with {code.number:#x}")
            return code.number, fields, body[end:]

    def _send(self, code: int, *fields: bytes, sasl: bool = False) -> None:
        body = _described(code, _list(*fields))
        self._socket.sendall(struct.pack(">IBBH", len(body) + _FRAME_HEAD, 2, int(sasl), 0) + body)


def _described(code: int, value: bytes) -> bytes:
    return bytes((0x00, 0x53, code)) + value


def _list(*items: bytes) -> bytes:
    body = b"".join(items)
    return b"\xd0" + struct.pack(">II", len(body) + 4, len(items)) + body


def _uint(number: int) -> bytes:
    return b"\x70" + struct.pack(">I", number)


def _string(text: str) -> bytes:
    raw = text.encode()
    return b"\xb1" + struct.pack(">I", len(raw)) + raw


def _symbol(text: str) -> bytes:
    return b"\xb3" + _string(text)[1:]
