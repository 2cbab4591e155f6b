"""What recorders, networks and full disks leave: transport streams with odd clocks, files that end too soon."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tests.support.media import ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

PACKET = 188
MODULUS = 1 << 33


def recording(path: Path, *, seconds: float = 8, extra: tuple[str, ...] = ()) -> Path:
    """Return `path`, a recording of MPEG-2 pictures and one sound as a broadcaster sends them."""
    picture = f"testsrc2=s=320x180:r=25:d={seconds}"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=440:r=48000:d={seconds}",
           "-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-b:v", "1500k", "-c:a", "mp2", *extra, str(path))  # fmt: skip
    return path


def packets_of(path: Path) -> list[bytearray]:
    """Return the packets of a transport stream."""
    data = path.read_bytes()
    return [bytearray(data[at : at + PACKET]) for at in range(0, len(data), PACKET)]


def pid(packet: bytearray) -> int:
    """Return which stream a packet belongs to."""
    return (packet[1] & 0x1F) << 8 | packet[2]


def clock_moved(source: Path, target: Path, seconds: float) -> Path:
    """Return `target`: `source`, the clock of whose second half is set on by `seconds`."""
    packets = packets_of(source)
    middle = next(at for at in range(len(packets) // 2, len(packets)) if pid(packets[at]) == 0)
    ticks = int(seconds * 90_000)
    moved = [_moved(packet, ticks) for packet in packets[middle:]]
    target.write_bytes(b"".join(map(bytes, packets[:middle] + moved)))
    return target


def packet_lost(source: Path, target: Path) -> Path:
    """Return `target`: `source` without one packet out of the middle of a picture."""
    packets = packets_of(source)
    inside = [at for at, packet in enumerate(packets) if pid(packet) == 256 and not packet[1] & 0x40]
    lost = inside[len(inside) // 2]
    target.write_bytes(b"".join(map(bytes, packets[:lost] + packets[lost + 1 :])))
    return target


def half(source: Path, target: Path) -> Path:
    """Return `target`, the first half of the bytes of `source`."""
    content = source.read_bytes()
    target.write_bytes(content[: len(content) // 2])
    return target


def trimmed_opus(target: Path, *, seconds: float, samples: int) -> Path:
    """Return `target`, an Opus file whose last page says that it ends `samples` before its last packet does."""
    ffmpeg("-f", "lavfi", "-i", f"sine=d={seconds}", "-c:a", "libopus", str(target))
    data = bytearray(target.read_bytes())
    page = data.rfind(b"OggS")
    (granule,) = struct.unpack_from("<q", data, page + 6)
    struct.pack_into("<q", data, page + 6, granule - samples)
    struct.pack_into("<I", data, page + 22, 0)
    struct.pack_into("<I", data, page + 22, _ogg_sum(data[page:]))
    target.write_bytes(data)
    return target


def _ogg_sum(page: bytearray) -> int:
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = ((total << 1) ^ 0x04C11DB7 if total & 0x80000000 else total << 1) & 0xFFFFFFFF
    return total


def _moved(packet: bytearray, ticks: int) -> bytearray:
    """Return a packet, its PCR, PTS and DTS set on by `ticks` of 90 kHz, modulo 33 bits (ISO 13818-1, 2.4.3)."""
    moved, fields, at = bytearray(packet), packet[3] >> 4 & 3, 4
    if fields & 2:
        length = moved[4]
        if length and moved[5] & 0x10:
            base = int.from_bytes(moved[6:10]) << 1 | moved[10] >> 7
            base = (base + ticks) % MODULUS
            moved[6:10] = (base >> 1).to_bytes(4)
            moved[10] = (base & 1) << 7 | moved[10] & 0x7F
        at += 1 + length
    if fields & 1 and packet[1] & 0x40 and moved[at : at + 3] == b"\0\0\1" and moved[at + 3] >= 0xBD:
        marks = {2: [2], 3: [3, 1]}.get(moved[at + 7] >> 6, [])
        for number, mark in enumerate(marks):
            _set_on(moved, at + 9 + 5 * number, mark, ticks)
    return moved


def _set_on(packet: bytearray, at: int, mark: int, ticks: int) -> None:
    old = packet[at : at + 5]
    time = (old[0] >> 1 & 7) << 30 | old[1] << 22 | old[2] >> 1 << 15 | old[3] << 7 | old[4] >> 1
    time = (time + ticks) % MODULUS
    packet[at : at + 5] = bytes(
        [
            mark << 4 | time >> 30 << 1 | 1, time >> 22 & 255, (time >> 15 & 127) << 1 | 1, time >> 7 & 255,
            (time & 127) << 1 | 1,
        ]
    )  # fmt: skip
