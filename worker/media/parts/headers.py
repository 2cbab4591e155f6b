"""The properties that the parts of a film share, read from their MP4 boxes without starting a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD: Final = 8
_LARGE_HEAD: Final = 16
_MAX_INDEX: Final = 64 << 20
_SAMPLE_ENTRY: Final = 78
"""Bytes of a VisualSampleEntry before its boxes (ISO/IEC 14496-12, 12.1.3), without its own head."""
_LIST_HEAD: Final = 8
"""Bytes before the entries of an `stsd`: version, flags and a count."""
_PATH: Final = (b"mdia", b"minf", b"stbl")


def shared_headers(file: BinaryIO) -> tuple[bytes, ...] | None:
    """Return of each track what a decoder must know before its first picture; None where the file is not as expected.

    It is the sample descriptions (the headers of the codec, the colours, the shape of a pixel), the time base, the size
    in the track, and the edits. Left out is how many bits a second the pictures took, which differs from part to part.
    """
    index = _index(file)
    if index is None:
        return None
    try:
        tracks = tuple([_track(body) for kind, body in _boxes(index) if kind == b"trak"])
    except (ValueError, KeyError):
        return None
    return tracks or None


def _index(file: BinaryIO) -> bytes | None:
    """Return the content of the file's `moov`."""
    end, at = file.seek(0, 2), 0
    while at < end:
        file.seek(at)
        head = file.read(_LARGE_HEAD)
        length, before = int.from_bytes(head[:4]), _HEAD
        if length == 1:
            length, before = int.from_bytes(head[8:]), _LARGE_HEAD
        if len(head) < _HEAD or length < before or at + length > end:
            return None
        if head[4:8] == b"moov":
            file.seek(at + before)
            return file.read(length - before) if length <= _MAX_INDEX else None
        at += length
    return None


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of each box; ValueError where they do not fill the content."""
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        if length < _HEAD or at + length > len(content):
            raise ValueError("a box is longer than what it is in")
        yield content[at + 4 : at + 8], content[at + _HEAD : at + length]
        at += length


def _track(content: bytes) -> bytes:
    boxes = dict(_boxes(content))
    size, edits = boxes[b"tkhd"][-8:], boxes.get(b"edts", b"")
    media = dict(_boxes(boxes[_PATH[0]]))
    version = media[b"mdhd"][0]
    ticks = media[b"mdhd"][20:24] if version else media[b"mdhd"][12:16]
    table = dict(_boxes(dict(_boxes(media[_PATH[1]]))[_PATH[2]]))
    entries = [kind + _description(body) for kind, body in _boxes(table[b"stsd"][_LIST_HEAD:])]
    # The first number of an edit is how long the part lasts; the moment where it begins comes after it.
    begins = dict(_boxes(edits)).get(b"elst", b"")
    return b"|".join([size, ticks, begins[:8], begins[12:], *entries])


def _description(entry: bytes) -> bytes:
    own = [kind + body for kind, body in _boxes(entry[_SAMPLE_ENTRY:]) if kind != b"btrt"]
    return entry[:_SAMPLE_ENTRY] + b"".join(own)
