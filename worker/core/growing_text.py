"""A log that is read again and again while it grows: the part of it that is new."""

from __future__ import annotations

from typing import Final

_OVERLAP: Final = 2000
"""The last characters by which a text is found again whose middle was taken out."""


def news(before: str, now: str) -> str:
    """Return what `now` has more than `before`, of which the middle may be gone by now."""
    if now.startswith(before):
        return now[len(before) :]
    last = before[-_OVERLAP:]
    at = now.rfind(last)
    return now[at + len(last) :] if at >= 0 else now
