"""The bytes of a source that a part needs, and the proof that it has them: packets of the picture by their places."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from worker.core.command import Command, Pipeline
from worker.core.spans import Span, total, union
from worker.media.ffmpeg.formats import GUARDS
from worker.media.matroska.elements import CLUSTER, EBML, SEGMENT, head

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction
    from pathlib import Path

    from worker.core.parts import Part
    from worker.media.parts.timeline import Timeline

HEAD_BYTES: Final = 6 << 20
"""The bytes that a demuxer reads when it opens a file: ffmpeg's probesize of 5 MB, and a buffer."""
AHEAD_PACKETS: Final = 64
"""The packets that a decoder may take beyond the last picture of a part: its threads, its reordering, and queues."""
MARGIN_BYTES: Final = 1 << 18
MAX_PACKETS: Final = 2_000_000
"""The longest list of packets that is kept (nine hours at 60 pictures a second): a longer source is fetched whole."""
_MAX_SHARE: Final = 0.5
"""An excerpt above this share of its file is not worth the requests."""
_MAX_BOXES: Final = 64
_MAX_ELEMENTS: Final = 200_000
_BOX: Final = 8
_LARGE_BOX: Final = 16
_CUES: Final = 0x1C53BB6B


@dataclass(frozen=True, slots=True)
class Layout:
    """The bytes of a file of `size` that are read whatever is wanted of it, and the offsets where clusters begin."""

    size: int
    index: tuple[Span, ...]
    clusters: tuple[int, ...] = ()


def layout_of(file: BinaryIO, container: str) -> Layout | None:
    """Return how a file is laid out, by its top-level elements; None where excerpts of it cannot be read.

    An excerpt needs an index: files without one are searched for a time, which reads anywhere.
    """
    size = file.seek(0, 2)
    names = set(container.split(","))
    if "mp4" in names:
        return _boxes(file, size)
    return _elements(file, size) if "matroska" in names else None


def _boxes(file: BinaryIO, size: int) -> Layout | None:
    """ISO/IEC 14496-12, 4.2: a box is its length, its type, and its content."""
    index: list[Span] = []
    kinds: list[bytes] = []
    at = 0
    while at < size and len(kinds) <= _MAX_BOXES:
        file.seek(at)
        start = file.read(_LARGE_BOX)
        length = int.from_bytes(start[:4])
        if length == 1:
            length = int.from_bytes(start[8:])
        elif length == 0:
            length = size - at
        if len(start) < _BOX or length < _BOX:
            return None
        kind = start[4:8]
        kept = length
        if kind == b"mdat":
            kept = _LARGE_BOX if b"mdat" in kinds else HEAD_BYTES
        kinds.append(kind)
        index.append((at, min(at + min(kept, length), size)))
        at += length
    # The index of a fragmented file is spread over all of it.
    if at < size or b"moov" not in kinds or b"moof" in kinds:
        return None
    return Layout(size, union(index))


def _elements(file: BinaryIO, size: int) -> Layout | None:
    """RFC 9559, 5: all that is no cluster, of a segment whose elements say how long they are."""
    file.seek(0)
    header = head(file)
    if header is None or header[0] != EBML or header[1] is None:
        return None
    file.seek(header[1], 1)
    segment = head(file)
    if segment is None or segment[0] != SEGMENT:
        return None
    begin = file.tell()
    end = size if segment[1] is None else min(size, begin + segment[1])
    index: list[Span] = [(0, begin), (end, size)]
    clusters: list[int] = []
    names: set[int] = set()
    at = begin
    for _ in range(_MAX_ELEMENTS):
        if at >= end:
            break
        file.seek(at)
        element = head(file)
        if element is None or element[1] is None:
            return None
        after = file.tell() + element[1]
        names.add(element[0])
        if element[0] == CLUSTER:
            clusters.append(at)
        else:
            index.append((at, min(after, size)))
        at = after
    if at < end or _CUES not in names or not clusters:
        return None
    index.append((clusters[0], min(clusters[0] + HEAD_BYTES, size)))
    spans = union(index)
    return Layout(size, spans, tuple(clusters)) if len(spans) <= _MAX_BOXES else None


@dataclass(slots=True)
class PacketPlaces:
    """Takes the lines of `places_command`: time, place, length and hash of each packet, in the order of the file."""

    _lines: list[str] = field(default_factory=list)
    _times: dict[int, int] = field(default_factory=dict)
    _places: list[Span] = field(default_factory=list)
    _unplaced: bool = False

    def line(self, text: str) -> None:
        """Take one line."""
        kind, *values = text.strip().split("|")
        if kind != "packet":
            return
        facts = dict(value.split("=", 1) for value in values if "=" in value)
        pts, place, length = (facts.get(name, "") for name in ("pts", "pos", "size"))
        if not (pts.lstrip("-").isdigit() and place.isdigit() and length.isdigit()) or len(self._lines) >= MAX_PACKETS:
            self._unplaced = True
            return
        self._times.setdefault(int(pts), len(self._lines))
        self._places.append((int(place), int(place) + int(length)))
        self._lines.append(f"{pts},{length},{facts.get('data_hash', '')}\n")

    def digest(self, first: int, count: int) -> str:
        """Return a hash of `count` packets from number `first` on."""
        return hashlib.sha256("".join(self._lines[first : first + count]).encode()).hexdigest()[:32]

    def excerpt(self, timeline: Timeline, frames: Span, seek: Fraction | None, layout: Layout) -> dict[str, Any] | None:
        """Return what the pictures of `frames` need of the source, as JSON; None where that is most of it, or unknown.

        `seek` is where the part enters the source.
        """
        if self._unplaced:
            return None
        shown = [self._times.get(int(time / timeline.tick)) for time in timeline.times[frames[0] : frames[1]]]
        first = 0 if seek is None else self._times.get(int(seek / timeline.tick))
        numbers = [number for number in shown if number is not None]
        if first is None or len(numbers) < len(shown):
            return None
        after = min(max(numbers) + 1 + AHEAD_PACKETS, len(self._lines))
        places = self._places[first:after]
        begin, end = min(place[0] for place in places), max(place[1] for place in places)
        if earlier := bisect_right(layout.clusters, begin):
            begin = layout.clusters[earlier - 1]
        own = (max(0, begin - MARGIN_BYTES), min(layout.size, end + MARGIN_BYTES))
        if total(union((*layout.index, own))) > layout.size * _MAX_SHARE:
            return None
        return {"bytes": list(own), "packets": after - first, "digest": self.digest(first, after - first)}


def places_command(
    ffprobe: str, path: Path, stream: int, seek: Fraction | None = None, count: int | None = None
) -> Pipeline:
    """Return the reading of a stream's packets, or of `count` of them from `seek` on, for both readers of a plan."""
    shown = "packet=stream_index,pts,dts,pos,size,flags,data_hash:stream=index,time_base,avg_frame_rate,r_frame_rate"
    argv = [ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-of", "compact", "-select_streams", str(stream)]
    if count is not None:
        # At an absolute time, as ffmpeg's -seek_timestamp is; a film's begin needs no seek.
        argv += ("-read_intervals", f"{'' if seek is None else f'{float(seek):.6f}'}%+#{count}")
    # The hash finds holes in an excerpt. It is no defence: a server that sends other bytes here could do so before.
    argv += ("-show_data_hash", "murmur3", "-show_entries", shown)
    return Pipeline((Command((*argv, "-i", f"file:{path}")),), label="packets")


def spans_of(plan_details: Mapping[str, Any], part: Part) -> tuple[int, tuple[Span, ...]] | None:
    """Return the size of the source and the bytes of it that a part needs; None where it needs the whole."""
    index, own = plan_details.get("index"), part.details.get("excerpt")
    if not index or not own:
        return None
    return index["size"], union([*(tuple(span) for span in index["spans"]), tuple(own["bytes"])])


def index_document(layout: Layout) -> dict[str, Any]:
    """Return the bytes that every part needs, as JSON for the details of a plan."""
    return {"size": layout.size, "spans": [list(span) for span in layout.index]}


def is_there(places: PacketPlaces, excerpt: Mapping[str, Any]) -> bool:
    """Return whether the packets that were read of an excerpt are those of the plan."""
    wanted: str = excerpt["digest"]
    return places.digest(0, excerpt["packets"]) == wanted
