"""The length that a Matroska file claims, from its first bytes (RFC 8794 4 and 5: EBML element IDs and sizes)."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 4096
"""Enough for the EBML header and the head of the segment that follows it."""
_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_WIDEST_ID: Final = 4
_WIDEST_SIZE: Final = 8


def declared_bytes(head: bytes) -> int | None:
    """Return where the first segment ends, in bytes from the file's start; None where `head` does not say.

    Who writes into a pipe cannot know it and says so: then the size is unknown (RFC 8794 6.2).
    """
    header = _element(head, 0)
    if header is None or header[0] != _EBML or header[2] is None:
        return None
    segment = _element(head, header[1] + header[2])
    if segment is None or segment[0] != _SEGMENT or segment[2] is None:
        return None
    return segment[1] + segment[2]


def _element(head: bytes, at: int) -> tuple[int, int, int | None] | None:
    """Return an element's ID, where its content begins, and how long that is; None when `head` ends before."""
    width = _width(head, at)
    if width is None or width > _WIDEST_ID:
        return None
    name = int.from_bytes(head[at : at + width])
    at += width
    width = _width(head, at)
    if width is None or width > _WIDEST_SIZE or at + width > len(head):
        return None
    marker = 1 << (7 * width)
    size = int.from_bytes(head[at : at + width]) - marker
    return name, at + width, None if size == marker - 1 else size


def _width(head: bytes, at: int) -> int | None:
    """Return how many bytes a number has: one more than the zeros that its first byte begins with."""
    return 9 - head[at].bit_length() if at < len(head) else None
