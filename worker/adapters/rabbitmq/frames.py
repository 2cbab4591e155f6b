"""Frames of the broker that a client can decode, whatever a publisher wrote into a message's properties.

RabbitMQ passes on what AMQP 0-9-1 forbids and what Python has no value for: names that are no UTF-8, times after the
year 9999, tables 3,000 deep. aiormq and pika end the connection at such a frame; the broker delivers it again, and the
next worker's connection ends too. So both clients get their bytes through `readable`, which replaces what is wrong,
leaves out what cannot be replaced, and bounds what would take long to decode.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from worker.core.message.copies import COUNTS, TEXTS
from worker.core.routing import COUNT_HEADERS, DEATH_HEADERS, HEADER_LANE, HEADER_MAX_ATTEMPTS

HEAD_BYTES: Final = 7
"""Type, channel and size of a frame; after the payload comes one more byte."""
MAX_DEPTH: Final = 6
"""`x-death` needs three: a table, an array of tables, an array in each."""
MAX_PAIRS: Final = 32
"""Foreign headers of one message."""
MAX_VALUES: Final = 64
"""Values in one header, those in its arrays and tables counted."""
MAX_BYTES: Final = 16384
"""Bytes of one header."""
READ: Final = frozenset((*COUNTS, *TEXTS, *COUNT_HEADERS, *DEATH_HEADERS, HEADER_LANE, HEADER_MAX_ATTEMPTS))
"""Headers that we or the broker write: kept however many foreign ones there are."""
INTERNAL_ERROR: Final = 541
LAST_SECOND: Final = 253_402_300_799
"""The last second of the year 9999."""

_METHOD, _HEADER = 1, 2
_BASIC, _CONNECTION, _CLOSE = 60, 10, 50
_SHORT, _TABLE, _MODE, _OCTET, _EXPIRATION, _TIME = "short", "table", "mode", "octet", "expiration", "time"
_PROPERTIES: Final = (
    (15, _SHORT), (14, _SHORT), (13, _TABLE), (12, _MODE), (11, _OCTET), (10, _SHORT), (9, _SHORT), (8, _EXPIRATION),
    (7, _SHORT), (6, _TIME), (5, _SHORT), (4, _SHORT), (3, _SHORT), (2, _SHORT),
)  # fmt: skip
"""The properties of `basic` in the order of the wire: the bit of each and its kind."""
_BEFORE_NAMES: Final = {60: (True, 9), 71: (False, 9), 50: (False, 2)}
"""Methods that carry a publisher's routing key: whether a consumer's tag comes first, and the bytes before the names.

They are `deliver`, `get-ok` and `return`.
"""
_FIXED: Final = {b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"I": 4, b"i": 4, b"l": 8, b"L": 8, b"D": 5, b"V": 0}
_CUT: Final = (IndexError, struct.error, KeyError)


def take_frames(received: bytearray) -> bytes:
    """Remove the whole frames at the head of `received` and return them, readable."""
    frames = []
    while len(received) >= HEAD_BYTES:
        if received.startswith(b"AMQP"):
            # The broker speaks another version of the protocol: the client says so.
            frames.append(bytes(received))
            received.clear()
            break
        end = HEAD_BYTES + int(struct.unpack_from(">L", received, 3)[0]) + 1
        if len(received) < end:
            break
        frames.append(readable(bytes(received[:end])))
        del received[:end]
    return b"".join(frames)


def blocked_by(frame: bytes) -> str | None:
    """Return why the broker takes no messages any more, where a frame says so; empty where it takes them again.

    It says so to connections that publish, when it is short of memory or disk (`connection.blocked`, `.unblocked`).
    """
    if frame[0] != _METHOD or len(frame) < HEAD_BYTES + 5 or _number(frame, HEAD_BYTES, ">H") != _CONNECTION:
        return None
    match _number(frame, HEAD_BYTES + 2, ">H"):
        case 60:
            return frame[HEAD_BYTES + 5 : -1].decode(errors="replace") or "no reason"
        case 61:
            return ""
        case _:
            return None


def is_internal_error(frame: bytes) -> bool:
    """Return whether the broker ends the connection by such a frame for an error of its own (`connection.close`)."""
    if frame[0] != _METHOD or len(frame) < HEAD_BYTES + 7 or _number(frame, HEAD_BYTES, ">H") != _CONNECTION:
        return False
    return (_number(frame, HEAD_BYTES + 2, ">H"), _number(frame, HEAD_BYTES + 4, ">H")) == (_CLOSE, INTERNAL_ERROR)


def readable(frame: bytes) -> bytes:
    """Return a whole frame so that a client can decode it: the same one where nothing is wrong with it."""
    kind, payload = frame[0], frame[HEAD_BYTES:-1]
    try:
        if kind == _HEADER and _number(payload, 0, ">H") == _BASIC:
            payload = payload[:12] + _properties(payload)
        elif kind == _METHOD and _number(payload, 0, ">H") == _BASIC:
            payload = _method(payload)
    except _CUT:
        # Not what the broker writes: the client judges it.
        return frame
    return frame[:3] + struct.pack(">L", len(payload)) + payload + frame[-1:]


def _method(payload: bytes) -> bytes:
    method = _number(payload, 2, ">H")
    if method not in _BEFORE_NAMES:
        return payload
    has_tag, skipped = _BEFORE_NAMES[method]
    start = 4
    if has_tag:
        start += 1 + payload[start]
    start += skipped
    parts, at = [payload[:start]], start
    for _ in range(3 if method == 50 else 2):  # noqa: PLR2004 - `return` says its reason first
        at, text = _short(payload, at)
        parts.append(text)
    return b"".join(parts) + payload[at:]


def _properties(payload: bytes) -> bytes:
    """Return flags and values of a content header."""
    flags, at = _number(payload, 12, ">H"), 14
    more = flags
    while more & 1:
        more, at = _number(payload, at, ">H"), at + 2
    kept, values = 0, []
    for bit, kind in _PROPERTIES:
        if not flags & (1 << bit):
            continue
        try:
            at, value = _property(payload, at, kind)
        except _CUT:
            break
        if value is not None:
            kept |= 1 << bit
            values.append(value)
    return struct.pack(">H", kept) + b"".join(values)


def _property(data: bytes, at: int, kind: str) -> tuple[int, bytes | None]:
    """Return where the next property begins, and this one's bytes; None for one that has no meaning."""
    match kind:
        case "short":
            return _short(data, at)
        case "expiration":
            end, text = _short(data, at)
            return end, text if text[1:].isdigit() else None
        case "table":
            end = at + 4 + _number(data, at, ">L")
            table = _pairs(data, at + 4, end)
            return end, struct.pack(">L", len(table)) + table
        case "mode":
            return at + 1, bytes([data[at]]) if data[at] in (1, 2) else None
        case "octet":
            return at + 1, bytes([data[at]])
        case _:
            # Many publishers write milliseconds.
            return at + 8, data[at : at + 8] if _number(data, at, ">Q") <= LAST_SECOND * 1000 else None


def _pairs(data: bytes, at: int, end: int) -> bytes:
    """Return the headers of a message: the first of each name, each bounded, and not too many foreign ones."""
    kept: dict[bytes, bytes] = {}
    foreign = 0
    while at < min(end, len(data)):
        try:
            at, name = _name(data, at)
            at, value = _value(data, at, 1, _Budget())
        except _CUT:
            break
        if name is None or value is None or name in kept or len(value) > MAX_BYTES:
            continue
        if name.decode() not in READ:
            foreign += 1
            if foreign > MAX_PAIRS:
                continue
        kept[name] = value
    return b"".join(bytes([len(name)]) + name + value for name, value in kept.items())


class _Budget:
    """The number of values of one header that are left."""

    def __init__(self) -> None:
        self.left = MAX_VALUES


def _value(data: bytes, at: int, deep: int, budget: _Budget) -> tuple[int, bytes | None]:
    """Return where the next value begins, and this one with its kind; None where a client could not read it."""
    kind, start = data[at : at + 1], at + 1
    budget.left -= 1
    match kind:
        case b"f" | b"d":
            end = start + (4 if kind == b"f" else 8)
            number = float(struct.unpack_from(">" + kind.decode(), data, start)[0])
            return end, data[at:end] if math.isfinite(number) else None
        case b"T":
            seconds = _number(data, start, ">Q")
            return start + 8, data[at : start + 8] if seconds <= LAST_SECOND else None
        case b"S" | b"x" | b"A" | b"F":
            end = start + 4 + _number(data, start, ">L")
            if end > len(data):
                raise IndexError(kind)
            inner = data[start + 4 : end]
            if kind == b"S":
                inner = inner.replace(b"\x00", "\N{REPLACEMENT CHARACTER}".encode())
            elif kind != b"x":
                if deep > MAX_DEPTH or budget.left < 0:
                    return end, None
                inner = (_array if kind == b"A" else _table)(inner, deep + 1, budget)
            return end, kind + struct.pack(">L", len(inner)) + inner
        case _:
            end = start + _FIXED[kind]
            if end > len(data):
                raise IndexError(kind)
            return end, data[at:end]


def _array(data: bytes, deep: int, budget: _Budget) -> bytes:
    values: list[bytes] = []
    at = 0
    while at < len(data) and budget.left > 0:
        try:
            at, value = _value(data, at, deep, budget)
        except _CUT:
            break
        if value is not None:
            values.append(value)
    return b"".join(values)


def _table(data: bytes, deep: int, budget: _Budget) -> bytes:
    kept: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and budget.left > 0:
        try:
            at, name = _name(data, at)
            at, value = _value(data, at, deep, budget)
        except _CUT:
            break
        if name is not None and value is not None:
            # Of a name that comes twice the broker reads the first.
            kept.setdefault(name, value)
    return b"".join(bytes([len(name)]) + name + value for name, value in kept.items())


def _name(data: bytes, at: int) -> tuple[int, bytes | None]:
    """Return where the value begins, and the name before it; None for one that is no UTF-8."""
    end = at + 1 + data[at]
    if end >= len(data):
        raise IndexError(at)
    name = data[at + 1 : end]
    try:
        name.decode()
    except UnicodeDecodeError:
        return end, None
    return end, name


def _short(data: bytes, at: int) -> tuple[int, bytes]:
    """Return where the next value begins, and this short string as UTF-8 without NUL, which no database stores."""
    end = at + 1 + data[at]
    if end > len(data):
        raise IndexError(at)
    text = data[at + 1 : end].decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    raw = text.encode()[:255].decode(errors="ignore").encode()
    return end, bytes([len(raw)]) + raw


def _number(data: bytes, at: int, kind: str) -> int:
    return int(struct.unpack_from(kind, data, at)[0])
