"""The languages of Matroska tracks in BCP 47, which ffprobe does not read (RFC 9559 5.1.4.1.19, LanguageBCP47).

Only the elements before the first cluster are looked at, and the place that the index of elements names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.core.command import Command
from worker.media.languages import UNKNOWN, bcp47

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo

_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_TRACKS: Final = 0x1654AE6B
_CLUSTER: Final = 0x1F43B675
_SEEK_HEAD: Final = 0x114D9B74
_SEEK: Final = 0x4DBB
_SEEK_ID: Final = 0x53AB
_SEEK_PLACE: Final = 0x53AC
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
    streams = [stream for stream in info.streams if stream.kind in _KINDS.values() and not stream.attached_picture]
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


def lost_languages(sources: Sequence[StreamInfo], made: MediaInfo) -> tuple[tuple[int, str], ...]:
    """Return the tracks of an output, counted from 1, whose language is only the beginning of their source's, and that.

    A language that the job gave the output itself is no beginning of another, and stays.
    """
    tracks = [stream for stream in made.streams if stream.kind in _KINDS.values() and not stream.attached_picture]
    origins = [stream for stream in sources if stream.kind in _KINDS.values() and not stream.attached_picture]
    if [track.kind for track in tracks] != [origin.kind for origin in origins]:
        return ()
    pairs = [(bcp47(origin.language), bcp47(track.language)) for origin, track in zip(origins, tracks, strict=True)]
    return tuple((number, tag) for number, (tag, got) in enumerate(pairs, 1) if tag.startswith(f"{got}-"))


def said_again_command(mkvpropedit: str, path: Path, tags: Sequence[tuple[int, str]]) -> Command:
    """Return the command that says the languages of tracks, counted from 1, in the Matroska file at `path`."""
    edits = [part for number, tag in tags for part in ("--edit", f"track:{number}", "--set", f"language={tag}")]
    return Command((mkvpropedit, str(path), *edits), success=frozenset({0, 1}))


def track_languages(file: BinaryIO) -> tuple[tuple[str | None, str | None], ...]:
    """Return the kind and the BCP 47 language of every track, each None where it is not said or not known to us."""
    end = file.seek(0, 2)
    file.seek(0)
    header = element_head(file)
    if header is None or header[0] != _EBML or header[1] is None or header[1] > end:
        return ()
    file.seek(header[1], 1)
    segment = element_head(file)
    if segment is None or segment[0] != _SEGMENT:
        return ()
    start, elsewhere = file.tell(), None
    for _ in range(_MOST_ELEMENTS):
        name, size = element_head(file) or (_CLUSTER, None)
        if name == _TRACKS and size is not None:
            return tuple(_tracks(file.read(size))) if size <= _MOST_TRACK_BYTES else ()
        if name == _SEEK_HEAD and size is not None and size <= _MOST_TRACK_BYTES:
            elsewhere = _place_of_tracks(file.read(size))
        elif name != _CLUSTER and size is not None and size <= end:
            file.seek(size, 1)
        elif elsewhere is not None and elsewhere <= end:
            # mkvpropedit moves tracks that grew behind the clusters
            file.seek(start + elsewhere)
            elsewhere = None
        else:
            return ()
    return ()


def _place_of_tracks(data: bytes) -> int | None:
    """Return where the tracks are, from the segment's start, as its index of elements says."""
    for name, content in _children(data):
        fields = dict(_children(content)) if name == _SEEK else {}
        if int.from_bytes(fields.get(_SEEK_ID, b"")[:8]) == _TRACKS:
            return int.from_bytes(fields.get(_SEEK_PLACE, b"")[:8])
    return None


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


def element_head(file: BinaryIO) -> tuple[int, int | None] | None:
    """Return the ID and size of the element that begins here, and move to its content; None at the end."""
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
