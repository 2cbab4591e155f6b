"""The filter of a list of jobs, and one page of the list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.record import JobRecord

MAX_LISTED = 1000
"""The largest page that one query reads."""
_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_age(text: str) -> timedelta | None:
    """Return the age that `90s`, `5m`, `2h` or `3d` says; None for anything else."""
    match = _AGE.fullmatch(text)
    return None if match is None else timedelta(**{_UNITS[match[2]]: int(match[1])})


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A filter of jobs: every field that is given must match.

    `worker` is one that had the job at some time, `module` one that its tasks name, `text` a part of its title or id
    in any case. `since` and `until` bound the time at which the job was created: a time, or an age by the database's
    clock.
    """

    state: str | None = None
    lane: str | None = None
    worker: str | None = None
    module: str | None = None
    text: str | None = None
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first, and what asks for those after them: None when there are no more."""

    jobs: tuple[JobRecord, ...]
    next_cursor: str | None = None


class InvalidCursor(InvalidJob):
    """The cursor of a list is none that a list gave out."""

    def __init__(self) -> None:
        super().__init__([Problem("cursor", "is not the next_cursor of a page")])
