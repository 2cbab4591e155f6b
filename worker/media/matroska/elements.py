"""The elements that EBML files, as Matroska, are made of (RFC 8794): an ID, a size, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

EBML: Final = 0x1A45DFA3
SEGMENT: Final = 0x18538067
CLUSTER: Final = 0x1F43B675
MAX_CHILDREN: Final = 1000


def children(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the ID and the content of each element in `data`, at most `MAX_CHILDREN`."""
    at = 0
    for _ in range(MAX_CHILDREN):
        found = number(data, at, is_id=True)
        size = number(data, at + found[1]) if found else None
        if found is None or size is None or size[0] is None:
            return
        start = at + found[1] + size[1]
        at = start + size[0]
        yield found[0] or 0, data[start:at]


def head(file: BinaryIO) -> tuple[int, int | None] | None:
    """Return the ID and size of the element that begins here, and move to its content; None at the end."""
    start = file.tell()
    data = file.read(12)
    found = number(data, 0, is_id=True)
    size = number(data, found[1]) if found else None
    if found is None or size is None:
        return None
    file.seek(start + found[1] + size[1])
    return found[0] or 0, size[0]


def number(data: bytes, at: int, *, is_id: bool = False) -> tuple[int | None, int] | None:
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
