"""Teletext subtitles in a transport stream (EN 300 472 and EN 300 706), which no encoder of ffmpeg writes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKET = 188
_PMT, _PID = 0x1000, 0x201
_HAMMING = bytes.fromhex("1502495E6473382FD0C78C9BA1B6FDEA")
_PAGE = (8, 8, 0, 8, 0, 8, 0, 1)
"""Page 888, a subtitle that replaces the one before."""
_END = (15, 15, 15, 15, 7, 0, 0, 1)


def with_teletext(plain: Path, path: Path) -> Path:
    """Return `path`, the transport stream `plain` of ffmpeg with a second of teletext in its programme."""
    content = plain.read_bytes()
    packets = [content[at : at + PACKET] for at in range(0, len(content), PACKET)]
    made = [_with_descriptor(packet) if _is_map(packet) else packet for packet in packets]
    middle = len(made) // 2
    made[middle:middle] = _packets(_pes(_time(packets[: middle + 1])))
    path.write_bytes(b"".join(made))
    return path


def _is_map(packet: bytes) -> bool:
    return (packet[1] & 0x1F) << 8 | packet[2] == _PMT and bool(packet[1] & 0x40)


def _with_descriptor(packet: bytes) -> bytes:
    """Return the programme map with an entry of private data that is a teletext subtitle in German."""
    descriptor = bytes((0x56, 5)) + b"ger" + bytes((2 << 3, 0x88))
    entry = bytes((6, 0xE0 | _PID >> 8, _PID & 0xFF, 0xF0, len(descriptor))) + descriptor
    length = (packet[6] & 0xF) << 8 | packet[7]
    section = packet[5 : 5 + 3 + length - 4] + entry
    longer = len(section) + 4 - 3
    section = bytes((section[0], section[1] & 0xF0 | longer >> 8, longer & 0xFF)) + section[3:]
    return (packet[:5] + section + _checksum(section)).ljust(PACKET, b"\xff")


def _checksum(section: bytes) -> bytes:
    value = 0xFFFFFFFF
    for byte in section:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return struct.pack(">I", value)


def _time(packets: list[bytes]) -> int:
    """Return the last clock reference of the packets, in ticks of 90 kHz."""
    stamped = next(packet for packet in reversed(packets) if packet[3] & 0x20 and packet[4] and packet[5] & 0x10)
    return int.from_bytes(stamped[6:11], "big") >> 7


def _pes(ticks: int) -> bytes:
    text = bytes((0x0D, 0x0B, 0x0B)) + b"HELLO" + bytes((0x0A, 0x0A))
    blank = bytes(map(_odd, b" " * 32))
    units = (
        _unit(0, bytes(_HAMMING[digit] for digit in _PAGE) + blank),
        _unit(20, bytes(map(_odd, text.ljust(40)))),
        _unit(0, bytes(_HAMMING[digit] for digit in _END) + blank),
    )
    stamp = bytes(
        (0x21 | ticks >> 29 & 0xE, ticks >> 22 & 0xFF, ticks >> 14 & 0xFE | 1, ticks >> 7 & 0xFF, ticks << 1 & 0xFE | 1)
    )
    # the header has 45 bytes in all, so that all data units fill packets
    header = bytes((0x84, 0x80, 0x24)) + stamp.ljust(0x24, b"\xff")
    body = header + b"\x10" + b"".join(units)
    return b"\0\0\1\xbd" + struct.pack(">H", len(body)) + body


def _unit(row: int, payload: bytes) -> bytes:
    address = bytes((_HAMMING[(row & 1) << 3], _HAMMING[row >> 1]))
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in address + payload)
    return bytes((3, 0x2C, 0xE7, 0xE4)) + turned


def _odd(byte: int) -> int:
    return byte | (0x80 if byte.bit_count() % 2 == 0 else 0)


def _packets(pes: bytes) -> list[bytes]:
    made = []
    for number, at in enumerate(range(0, len(pes), PACKET - 4)):
        chunk = pes[at : at + PACKET - 4]
        lacks = PACKET - 4 - len(chunk)
        head = bytes((0x47, (0x40 if at == 0 else 0) | _PID >> 8, _PID & 0xFF, (0x30 if lacks else 0x10) | number))
        filler = bytes((lacks - 1, 0)).ljust(lacks, b"\xff")[:lacks] if lacks else b""
        made.append(head + filler + chunk)
    return made
