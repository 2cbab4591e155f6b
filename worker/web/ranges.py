"""HTTP ranges (RFC 9110, section 14): one part of a file, or the whole of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

_ONE: Final = re.compile(r"^bytes=\s*(\d{0,18})-(\d{0,18})\s*$")


class Unsatisfiable(Exception):
    """The file has none of the bytes that were asked for."""


@dataclass(frozen=True, slots=True)
class Part:
    """A range of bytes: the first, and how many."""

    start: int
    length: int


def part_of(header: str | None, size: int) -> Part | None:
    """Return the part that a Range header asks for; None when the whole file is the answer.

    A header that is no range, or names several, is ignored, as it may be. Unsatisfiable when it begins after the end.
    """
    match = _ONE.match(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise Unsatisfiable
        return Part(size - length, length)
    start, end = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and end < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Part(start, min(end, size - 1) - start + 1)


def still_is(condition: str | None, etag: str, modified: float) -> bool:
    """Return whether an If-Range header names the file as it is: else the whole of it is sent."""
    if not condition:
        return True
    if condition.startswith(('"', "W/")):
        return condition == f'"{etag}"'
    try:
        return parsedate_to_datetime(condition).timestamp() >= int(modified)
    except (TypeError, ValueError):
        return False
