"""Subtitles that are pictures: PGS in the segments of a Blu-ray, and DVB subtitles that ffmpeg makes of it."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (320, 180)
_PALETTE, _OBJECT, _COMPOSITION, _WINDOW, _END = 0x14, 0x15, 0x16, 0x17, 0x80
_BOX = (60, 150, 200, 20)
"""Left, top, width and height of the box that each cue shows."""


def pgs(path: Path, *times: tuple[float, float]) -> Path:
    """Write a white box at each of `times`, from and to in seconds."""
    path.write_bytes(b"".join(_cue(number, *pair) for number, pair in enumerate(times)))
    return path


def _cue(number: int, start: float, end: float) -> bytes:
    left, top, width, height = _BOX
    window = struct.pack(">BBHHHH", 1, 0, left, top, width, height)
    row = b"\x00" + struct.pack(">H", 0xC000 | width) + b"\x01\x00\x00"
    coded = struct.pack(">HH", width, height) + row * height
    shown = _segment(start, _COMPOSITION, _composition(2 * number, 0x80) + struct.pack(">HBBHH", 0, 0, 0, left, top))
    shown += _segment(start, _WINDOW, window)
    shown += _segment(start, _PALETTE, bytes((0, 0, 1, 235, 128, 128, 255)))
    shown += _segment(start, _OBJECT, b"\x00\x00\x00\xc0" + len(coded).to_bytes(3, "big") + coded)
    gone = _segment(end, _COMPOSITION, _composition(2 * number + 1, 0)) + _segment(end, _WINDOW, window)
    return shown + _segment(start, _END, b"") + gone + _segment(end, _END, b"")


def _composition(number: int, state: int) -> bytes:
    return struct.pack(">HHBHBBBB", *SIZE, 0x10, number, state, 0, 0, 1 if state else 0)


def _segment(seconds: float, kind: int, content: bytes) -> bytes:
    return b"PG" + struct.pack(">IIBH", round(seconds * 90_000), 0, kind, len(content)) + content


def broadcast(folder: Path, seconds: int = 4) -> Path:
    """Return a transport stream with a picture, a sound and DVB subtitles in English."""
    cues = pgs(folder / "cues.sup", (0.5, 1.5), (2.0, 3.0))
    made = folder / "recording.ts"
    pictures = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r=25:d={seconds}"
    inputs = ("-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", f"sine=d={seconds}", "-i", cues)
    coded = ("-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg2video", "-c:a", "mp2", "-c:s", "dvbsub")
    named = ("-metadata:s:s:0", "language=eng", made)
    subprocess.run(("ffmpeg", "-v", "error", "-y", *inputs, *coded, *named), check=True, timeout=60)
    return made
