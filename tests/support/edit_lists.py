"""MP4 files with edit lists of every kind (ISO 14496-12, 8.6.6)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMESCALE = 20
"""Where a movie's and a media header of version 0 have their time scale."""
NOTHING = -1.0
"""The begin of an edit that shows nothing for a while."""


def with_edits(plain: Path, path: Path, *edits: tuple[float, float]) -> Path:
    """Return `path`, the MP4 `plain` whose tracks show only `edits`: begin and length in seconds, in their order."""
    content = plain.read_bytes()
    begin, end = next((at, end) for kind, at, end in _boxes(content, 0, len(content)) if kind == b"moov")
    header = next(at for kind, at, _ in _boxes(content, begin + 8, end) if kind == b"mvhd")
    # ffmpeg counts a film in thousandths up to 8, and in samples of its sound since
    (scale,) = struct.unpack_from(">I", content, header + _TIMESCALE)
    parts = [
        _track(content, at, until, scale, edits) if kind == b"trak" else content[at:until]
        for kind, at, until in _boxes(content, begin + 8, end)
    ]
    path.write_bytes(content[:begin] + _box(b"moov", b"".join(parts)) + content[end:])
    return path


def _track(content: bytes, begin: int, end: int, movie_scale: int, edits: tuple[tuple[float, float], ...]) -> bytes:
    boxes = {kind: (at, until) for kind, at, until in _boxes(content, begin + 8, end)}
    media = boxes[b"mdia"]
    header = next(at for kind, at, _ in _boxes(content, media[0] + 8, media[1]) if kind == b"mdhd")
    (scale,) = struct.unpack_from(">I", content, header + _TIMESCALE)
    entries = [
        struct.pack(">IiI", round(seconds * movie_scale), -1 if at < 0 else round(at * scale), 1 << 16)
        for at, seconds in edits
    ]
    listed = _box(b"edts", _box(b"elst", struct.pack(">II", 0, len(entries)) + b"".join(entries)))
    kept = b"".join(content[at:until] for kind, (at, until) in boxes.items() if kind not in {b"tkhd", b"edts"})
    at, until = boxes[b"tkhd"]
    return _box(b"trak", content[at:until] + listed + kept)


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at < end:
        size, kind = struct.unpack_from(">I4s", content, at)
        yield kind, at, at + size
        at += size


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content
