"""The cues of a WebVTT track that mkvmerge put into Matroska (S_TEXT/WEBVTT), which ffmpeg has no decoder for.

A block holds a cue's text, its first addition the settings, the identifier and comments, each on lines of their own;
what comes before the first cue is the track's private data (Matroska's codec mappings, "S_TEXT/WEBVTT").
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.media.matroska.elements import children, head, number
from worker.media.matroska.tracks import WEBVTT, Track, tracks_of
from worker.media.webvtt import CueError, TimedText, parse_webvtt, seconds_of, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Elements whose children are looked at; all others are passed over by their size.
_ENTERED: Final = frozenset({0x18538067, 0x1549A966, 0x1F43B675, 0xA0})
_SCALE: Final = 0x2AD7B1
_CLUSTER_TIME: Final = 0xE7
_BLOCK: Final = 0xA1
_DURATION: Final = 0x9B
_ADDITIONS: Final = 0x75A1
_MORE: Final = 0xA6
_ADDITIONAL: Final = 0xA5
_ENCODING: Final = 0x6240
_SCOPE: Final = 0x5032
_COMPRESSION: Final = 0x5034
_ALGORITHM: Final = 0x4254
_SETTINGS: Final = 0x4255
_ZLIB: Final = 0
_ZLIB_BEGIN: Final = b"\x78"
_HEADERS: Final = 3
_USUAL_SCALE: Final = 1_000_000
_LACED: Final = 0x06
_BLOCK_HEAD: Final = 3
MAX_ELEMENTS: Final = 20_000_000
"""A day of pictures and eight sounds has fewer."""
MAX_BYTES: Final = 16 << 20
_LARGEST: Final = 1 << 20
_INNER: Final = re.compile(r"<(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)\.(\d{3})>")


@dataclass(slots=True)
class _Block:
    """A cue as it is in the file; times are in ticks of the track."""

    start: int
    content: bytes
    duration: int | None = None
    additions: bytes = b""


def webvtt_track(file: BinaryIO, stream: int, begin: float = 0.0) -> TimedText:
    """Return the cues of the subtitle `stream`, counted from 0, of a Matroska file; times are counted from `begin`.

    CueError where it is no such track, is compressed in a way that is not known, or has more than 16 MiB.
    """
    texts = [track for track in tracks_of(file) if track.kind == "subtitle"]
    if stream >= len(texts) or texts[stream].codec.lower() != WEBVTT:
        raise CueError("is no WebVTT track")
    track = texts[stream]
    parts = ["WEBVTT", *_lines_of(_unpack(track.private, track, scope=2))]
    size = 0
    for seconds, until, block in _timed_blocks(file, track):
        content, said = _unpack(block.content, track, scope=1), _first_addition(block.additions, track)
        size += len(content) + len(said)
        if size > MAX_BYTES:
            raise CueError(f"has more than {MAX_BYTES >> 20} MiB")
        parts.append(_cue(seconds - begin, until - begin, content, said))
    return parse_webvtt("\n\n".join(parts))


def _lines_of(private: bytes) -> list[str]:
    """Return the blocks before the first cue: styles, regions and notes."""
    text = private.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    text = text.removeprefix("WEBVTT").lstrip("\n")
    return [text] if text else []


def _cue(start: float, end: float, content: bytes, said: bytes) -> str:
    """Return a cue as a WebVTT file has it; its inner times are the film's again, and no line of it begins another."""
    settings = said.decode("utf-8", "replace").split("\n")[0].strip()
    text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.split("\n") if line]
    body = "\n".join(lines).replace("-->", "--&gt;")
    body = _INNER.sub(lambda inner: f"<{stamp(max(0.0, start) + seconds_of(inner.groups()))}>", body)
    return f"{stamp(max(0.0, start))} --> {stamp(max(0.0, end))} {settings}\n{body}"


def _first_addition(additions: bytes, track: Track) -> bytes:
    """Return the first addition of a block; mkvmerge (74) packs it like the block, which Matroska does not ask for."""
    first = next((content for name, content in children(additions) if name == _MORE), b"")
    said = dict(children(first)).get(_ADDITIONAL, b"")
    return _unpack(said, track, scope=1) if said[:1] == _ZLIB_BEGIN else said


def _timed_blocks(file: BinaryIO, track: Track) -> Iterator[tuple[float, float, _Block]]:
    """Yield begin and end of each block of a track that has a length, in seconds, and the block."""
    reader = _Reader(file, track.number)
    for block in reader.blocks():
        if block.duration:
            start = block.start * reader.scale / 1e9
            yield start, start + block.duration * reader.scale / 1e9, block


class _Reader:
    """Walks over the elements of a file: the time `scale` so far, in nanoseconds, and the blocks of one track."""

    def __init__(self, file: BinaryIO, track: int) -> None:
        self.scale = _USUAL_SCALE
        self._file = file
        self._track = track
        self._cluster = 0
        self._block: _Block | None = None

    def blocks(self) -> Iterator[_Block]:
        """Yield each block of the track once all that belongs to it was read."""
        end = self._file.seek(0, 2)
        self._file.seek(0)
        for _ in range(MAX_ELEMENTS):
            found = head(self._file)
            if found is None:
                break
            name, size = found
            if name in _ENTERED:
                if self._block is not None:
                    yield self._block
                self._block = None
            elif size is None or self._file.tell() + size > end:
                break
            else:
                self._take(name, size)
        if self._block is not None:
            yield self._block

    def _take(self, name: int, size: int) -> None:
        """Read an element that counts, pass over another one."""
        after = self._file.tell() + size
        if name == _CLUSTER_TIME:
            self._cluster = _integer(self._file, size)
        elif name == _SCALE:
            self.scale = _integer(self._file, size) or _USUAL_SCALE
        elif name == _BLOCK:
            self._block = _block(self._file, size, self._track, self._cluster)
        elif self._block is not None and name == _DURATION:
            self._block.duration = _integer(self._file, size)
        elif self._block is not None and name == _ADDITIONS and size <= _LARGEST:
            self._block.additions = self._file.read(size)
        self._file.seek(after)


def _integer(file: BinaryIO, size: int) -> int:
    return int.from_bytes(file.read(min(size, 8)))


def _block(file: BinaryIO, size: int, wanted: int, cluster: int) -> _Block | None:
    """Return a block of the track `wanted`; another one, one with several frames or one of megabytes is passed over."""
    after = file.tell() + size
    start = file.read(min(size, 8 + _BLOCK_HEAD))
    of = number(start, 0)
    rest = start[of[1] :] if of else b""
    if of is None or of[0] != wanted or len(rest) < _BLOCK_HEAD or rest[2] & _LACED or size > _LARGEST:
        return None
    content = rest[_BLOCK_HEAD:] + file.read(after - file.tell())
    return _Block(cluster + int.from_bytes(rest[:2], signed=True), content)


def _unpack(content: bytes, track: Track, *, scope: int) -> bytes:
    """Return what was stored, without the compression that `scope` (1 blocks, 2 private data) has."""
    for name, encoding in children(track.encodings):
        fields = dict(children(encoding)) if name == _ENCODING else {}
        if not fields or not int.from_bytes(fields.get(_SCOPE, b"\x01")) & scope:
            continue
        content = _decompress(content, dict(children(fields.get(_COMPRESSION, b""))), _COMPRESSION in fields)
    return content


def _decompress(content: bytes, fields: Mapping[int, bytes], known: bool) -> bytes:  # noqa: FBT001 - a value of the file
    algorithm = int.from_bytes(fields.get(_ALGORITHM, b"\x00")) if known else None
    if algorithm == _HEADERS:
        return fields.get(_SETTINGS, b"") + content
    if algorithm != _ZLIB:
        raise CueError("is compressed or encrypted in a way that is not known")
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(content, _LARGEST)
    except zlib.error as error:
        raise CueError(f"is compressed, and cannot be read: {error}") from error
    if reader.unconsumed_tail:
        raise CueError(f"has a block of more than {_LARGEST >> 20} MiB")
    return text
