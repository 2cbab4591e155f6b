"""The parts of a Matroska file that describe it: those before its first cluster, and where its index says they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

from worker.media.matroska.elements import CLUSTER, EBML, SEGMENT, children, head

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACKS: Final = 0x1654AE6B
CHAPTERS: Final = 0x1043A770
INFO: Final = 0x1549A966
_SEEK_HEAD: Final = 0x114D9B74
_SEEK: Final = 0x4DBB
_SEEK_ID: Final = 0x53AB
_SEEK_PLACE: Final = 0x53AC
_MAX_ELEMENTS: Final = 1000
_MAX_BYTES: Final = 8 << 20


def segment_parts(file: BinaryIO, wanted: frozenset[int]) -> dict[int, bytes]:
    """Return the contents of the `wanted` parts of a Matroska file, the first of each; those that are not found lack.

    One that is larger than 8 MiB is left out.
    """
    end = file.seek(0, 2)
    file.seek(0)
    header = head(file)
    if header is None or header[0] != EBML or header[1] is None or header[1] > end:
        return {}
    file.seek(header[1], 1)
    segment = head(file)
    if segment is None or segment[0] != SEGMENT:
        return {}
    start = file.tell()
    found, places = _parts_before_clusters(file, wanted, end)
    # mkvpropedit moves a part that grew behind the clusters
    for name in wanted - set(found):
        if (place := places.get(name)) is not None and start + place <= end:
            file.seek(start + place)
            is_there = head(file)
            if is_there and is_there[0] == name and is_there[1] is not None and is_there[1] <= _MAX_BYTES:
                found[name] = file.read(is_there[1])
    return found


def _parts_before_clusters(file: BinaryIO, wanted: frozenset[int], end: int) -> tuple[dict[int, bytes], dict[int, int]]:
    """Return the `wanted` parts before the first cluster, and where the index says that parts are."""
    found: dict[int, bytes] = {}
    places: dict[int, int] = {}
    for _ in range(_MAX_ELEMENTS):
        name, size = head(file) or (CLUSTER, None)
        if name == CLUSTER or size is None or size > end or wanted <= set(found):
            break
        if name == _SEEK_HEAD and size <= _MAX_BYTES:
            places = dict(_places(file.read(size))) | places
        elif name in wanted and size <= _MAX_BYTES:
            found.setdefault(name, file.read(size))
        else:
            file.seek(size, 1)
    return found, places


def _places(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each part and where it is, from the segment's start, as its index of elements says."""
    for name, content in children(data):
        if name == _SEEK:
            fields = dict(children(content))
            yield int.from_bytes(fields.get(_SEEK_ID, b"")[:8]), int.from_bytes(fields.get(_SEEK_PLACE, b"")[:8])
