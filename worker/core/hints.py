"""Hints: the known name nearest to one that nobody knows."""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_HINTS: Final = 20
"""The number of unknown names of one message that get their nearest known one: each costs a millisecond."""
_HINTS_LEFT: ContextVar[list[int] | None] = ContextVar("hints_left", default=None)


@contextmanager
def bounded_hints() -> Iterator[None]:
    """Let `nearest` find at most MAX_HINTS names in the body, all modules and tasks of a message together.

    A megabyte of unknown options would else hold the event loop for ten seconds.
    """
    if _HINTS_LEFT.get() is not None:
        yield
        return
    token = _HINTS_LEFT.set([MAX_HINTS])
    try:
        yield
    finally:
        _HINTS_LEFT.reset(token)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `name`, or nothing when none is near.

    A name of the same letters comes first: letters are swapped more often than they are mistaken. Where hints are
    bounded and used up, there is none.
    """
    left = _HINTS_LEFT.get()
    if left is not None:
        if not left[0]:
            return ""
        left[0] -= 1
    matches = difflib.get_close_matches(name[:100], sorted(set(known) - {name}), n=5)
    swapped = [match for match in matches if sorted(match) == sorted(name)]
    return f"; did you mean {(swapped or matches)[0]!r}?" if matches else ""
