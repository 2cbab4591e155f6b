"""The languages of a Matroska file's tracks in BCP 47, which ffprobe does not read (RFC 9559 5.1.4.1.19, LanguageBCP47).

Only the elements before the first cluster are looked at: the segment's, then the tracks'.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.media.languages import UNKNOWN, bcp47

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.media_info import MediaInfo

_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_TRACKS: Final = 0x1654AE6B
_CLUSTER: Final = 0x1F43B675
_TRACK: Final = 0xAE
_TYPE: Final = 0x83
_LANGUAGE: Final = 0x22B59D
_KINDS: Final = {1: "video", 2: "audio", 17: "subtitle"}
_MOST_ELEMENTS: Final = 1000
_MOST_TRACK_BYTES: Final = 8 << 20
_LONGEST: Final = 100


def with_languages(info: MediaInfo, file: BinaryIO) -> MediaInfo:
    """Return `info` with the languages that the Matroska `file` says in BCP 47; another file's as it is.

    Where the tracks are not those that the probe found, in number and kind, nothing is changed.
    """
    if "matroska" not in info.container:
        return info
    said = [(kind, language) for kind, language in track_languages(file) if kind]
    streams = [
        stream for stream in info.streams if stream.kind in _KINDS.values() and not stream.attached_picture
    ]
    if [kind for kind, _ in said] != [stream.kind for stream in streams]:
        return info
    found = {
        stream.index: language for stream, (_, language) in zip(streams, said, strict=True) if language is not None
    }
    return replace(
        info,
        streams=tuple(
            replace(stream, language=found[stream.index]) if stream.index in found else stream
            for stream in info.streams
        ),
    )


def track_languages(file: BinaryIO) -> tuple[tuple[str | None, str | None], ...]:
    """Return the kind and the BCP 47 language of every track, each None where it is not said or not known to us."""
    file.seek(0)
    header = _head(file)
    if header is None or header[0] != _EBML or header[1] is None:
        return ()
    file.seek(header[1], 1)
    segment = _head(file)
    if segment is None or segment[0] != _SEGMENT:
        return ()
    for _ in range(_MOST_ELEMENTS):
        element = _head(file)
        if element is None or element[0] == _CLUSTER or element[1] is None:
            return ()
        name, size = element
        if name == _TRACKS:
            return tuple(_tracks(file.read(size))) if size <= _MOST_TRACK_BYTES else ()
        file.seek(size, 1)
    return ()


def _tracks(data: bytes) -> Iterator[tuple[str | None, str | None]]:
    for name, content in _children(data):
        if name == _TRACK:
            fields = dict(_children(content))
            tag = fields.get(_LANGUAGE, b"")[:_LONGEST].split(b"\x00")[0].decode("ascii", "replace")
            language = bcp47(tag)
            yield _KINDS.get(int.from_bytes(fields.get(_TYPE, b"")[:8])), language if language != UNKNOWN else None


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(_MOST_ELEMENTS):
        name = _number(data, at, is_id=True)
        size = _number(data, at + name[1]) if name else None
        if name is None or size is None or size[0] is None:
            return
        start = at + name[1] + size[1]
        at = start + size[0]
        yield name[0] or 0, data[start:at]


def _head(file: BinaryIO) -> tuple[int, int | None] | None:
    """Return the ID and size of the element that begins here, and stand at its content; None at the end."""
    start = file.tell()
    data = file.read(12)
    name = _number(data, 0, is_id=True)
    size = _number(data, name[1]) if name else None
    if name is None or size is None:
        return None
    file.seek(start + name[1] + size[1])
    return name[0] or 0, size[0]


def _number(data: bytes, at: int, *, is_id: bool = False) -> tuple[int | None, int] | None:
    """Return a number (RFC 8794 4) and how many bytes it takes, None for the number that means an unknown size."""
    if at >= len(data):
        return None
    width = 9 - data[at].bit_length()
    if width > (4 if is_id else 8) or at + width > len(data):
        return None
    value = int.from_bytes(data[at : at + width])
    if is_id:
        return value, width
    marker = 1 << (7 * width)
    return (None if value - marker == marker - 1 else value - marker), width
