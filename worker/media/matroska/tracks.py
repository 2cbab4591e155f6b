"""Facts of Matroska tracks that ffprobe does not read: languages in BCP 47 (RFC 9559 5.1.4.1.19), and WebVTT.

Only the elements before the first cluster are looked at, and the place that the index of elements names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.core.command import Command
from worker.media.languages import UNKNOWN, bcp47
from worker.media.matroska.elements import children
from worker.media.matroska.segment import TRACKS, segment_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo

_TRACK: Final = 0xAE
_TYPE: Final = 0x83
_LANGUAGE: Final = 0x22B59D
_NUMBER: Final = 0xD7
_CODEC: Final = 0x86
_PRIVATE: Final = 0x63A2
_ENCODINGS: Final = 0x6D80
_KINDS: Final = {1: "video", 2: "audio", 17: "subtitle"}
_LONGEST: Final = 100


WEBVTT: Final = "s_text/webvtt"
"""The codec of a stream whose track mkvmerge made of WebVTT: ffmpeg (5.1 to 9) knows no name for it."""


@dataclass(frozen=True, slots=True)
class Track:
    """A track as Matroska describes it; `kind` and `language` are None where they are not said or not known to us.

    `private` is what its codec needs, `encodings` how its blocks are compressed: both as they are in the file.
    """

    number: int
    kind: str | None
    codec: str
    language: str | None
    private: bytes
    encodings: bytes


def with_tracks(info: MediaInfo, file: BinaryIO) -> MediaInfo:
    """Return `info` with the languages that the Matroska `file` says in BCP 47, and WebVTT named; others as they are.

    Where the tracks are not those that the probe found, in number and kind, nothing is changed.
    """
    if "matroska" not in info.container:
        return info
    said = [track for track in tracks_of(file) if track.kind]
    streams = [stream for stream in info.streams if stream.kind in _KINDS.values() and not stream.attached_picture]
    if [track.kind for track in said] != [stream.kind for stream in streams]:
        return info
    found = {stream.index: track for stream, track in zip(streams, said, strict=True)}
    return replace(info, streams=tuple(_stream_of_track(stream, found.get(stream.index)) for stream in info.streams))


def _stream_of_track(stream: StreamInfo, track: Track | None) -> StreamInfo:
    if track is None:
        return stream
    codec = WEBVTT if track.codec.lower() == WEBVTT and stream.kind == "subtitle" else stream.codec
    return replace(stream, language=track.language or stream.language, codec=codec)


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


def retag_command(mkvpropedit: str, path: Path, tags: Sequence[tuple[int, str]]) -> Command:
    """Return the command that says the languages of tracks, counted from 1, in the Matroska file at `path`."""
    edits = [part for number, tag in tags for part in ("--edit", f"track:{number}", "--set", f"language={tag}")]
    return Command((mkvpropedit, str(path), *edits), success=frozenset({0, 1}))


def tracks_of(file: BinaryIO) -> tuple[Track, ...]:
    """Return every track of a Matroska file; none where they are not found."""
    return tuple(_parse_tracks(segment_parts(file, frozenset({TRACKS})).get(TRACKS, b"")))


def _parse_tracks(data: bytes) -> Iterator[Track]:
    for name, content in children(data):
        if name == _TRACK:
            fields = dict(children(content))
            language = bcp47(_text(fields.get(_LANGUAGE, b"")))
            yield Track(
                number=int.from_bytes(fields.get(_NUMBER, b"")[:8]),
                kind=_KINDS.get(int.from_bytes(fields.get(_TYPE, b"")[:8])),
                codec=_text(fields.get(_CODEC, b"")),
                language=language if language != UNKNOWN else None,
                private=fields.get(_PRIVATE, b""),
                encodings=fields.get(_ENCODINGS, b""),
            )


def _text(content: bytes) -> str:
    return content[:_LONGEST].split(b"\x00")[0].decode("ascii", "replace")
