"""The key frames of a file at which a decoder can begin, with nothing that comes before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

from worker.media.matroska.elements import number

if TYPE_CHECKING:
    from worker.core.spans import Span

_RESETS: Final = frozenset({"mpeg2video", "mpeg4", "vp8", "vp9"})
"""Formats where what is shown from a key frame on never leans on a picture before it."""
_CLEAN_UNITS: Final = {
    # ITU-T H.264, 7.4.1.2.4: after an IDR picture none refers to one before it.
    "h264": frozenset({5}),
    # ITU-T H.265, 7.4.2.2: nor after an IRAP picture, but for leading ones, which are shown before it.
    "hevc": frozenset(range(16, 24)),
}
_PICTURES: Final = {"h264": range(1, 6), "hevc": range(32)}
_MAX_UNITS: Final = 64
_LENGTH: Final = 4
"""Bytes that say how long a unit is; files with other widths exist, and are not believed."""


def is_clean(file: BinaryIO, place: Span, codec: str, container: str) -> bool:
    """Return whether the key frame whose packet lies at `place` of a file is surely one to begin at."""
    if codec in _RESETS:
        return True
    if codec not in _CLEAN_UNITS:
        return False
    before = _block_header(file, place[0]) if "matroska" in container.split(",") else 0
    kind = _first_picture(file, place[0] + before, place[1] + before, codec)
    return kind in _CLEAN_UNITS[codec]


def _block_header(file: BinaryIO, at: int) -> int:
    """Return the bytes before the frame of a block (RFC 9559, 10.1): its track, a time of two bytes, and flags."""
    file.seek(at)
    track = number(file.read(8), 0)
    return 0 if track is None else track[1] + 3


def _first_picture(file: BinaryIO, at: int, end: int, codec: str) -> int | None:
    """Return the type of the first unit of a packet that is of a picture; None where its bytes are no such units."""
    for _ in range(_MAX_UNITS):
        file.seek(at)
        head = file.read(_LENGTH + 1)
        if len(head) <= _LENGTH:
            return None
        length = int.from_bytes(head[:_LENGTH])
        at += _LENGTH + length
        if not length or at > end or head[_LENGTH] & 0x80:
            return None
        kind = head[_LENGTH] & 31 if codec == "h264" else head[_LENGTH] >> 1
        if kind in _PICTURES[codec]:
            return kind
    return None
