"""Spans of bytes in a file: pairs of the first byte and the one after the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Span: TypeAlias = tuple[int, int]


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same bytes as spans in order that neither overlap nor touch; empty ones are left out."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if first >= last:
            continue
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def missing(wanted: Iterable[Span], present: Iterable[Span]) -> tuple[Span, ...]:
    """Return what of `wanted` is not `present`."""
    left = list(union(wanted))
    for first, last in union(present):
        left = [
            piece
            for begin, end in left
            for piece in ((begin, min(end, first)), (max(begin, last), end))
            if piece[0] < piece[1]
        ]
    return tuple(left)


def total(spans: Iterable[Span]) -> int:
    """Return how many bytes spans have that do not overlap."""
    return sum(last - first for first, last in spans)
