"""The filter of jobs, as the query of a request and the body of another say it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from worker.core.errors import InvalidJob, Problem
from worker.core.job import Lane
from worker.core.listing import JobFilter, parse_age
from worker.core.record import State

if TYPE_CHECKING:
    from datetime import timedelta


class FilterDocument(BaseModel):
    """A filter of jobs; every field that is given must match."""

    state: State | None = None
    lane: Lane | None = None
    worker: str | None = Field(None, max_length=200, description="One that had the job.")
    module: str | None = Field(None, max_length=100, description="One that its tasks name.")
    text: str | None = Field(None, max_length=200, description="A part of its title or id, in any case.")
    since: str | None = Field(None, max_length=40, description="No older: 90s, 5m, 2h, 3d, or a time in ISO 8601.")
    until: str | None = Field(None, max_length=40, description="No newer.")

    def chosen(self) -> JobFilter:
        """Return the filter; InvalidJob for a time that is none."""
        return JobFilter(
            state=self.state,
            lane=self.lane,
            worker=_storable(self.worker, "worker"),
            module=_storable(self.module, "module"),
            text=_storable(self.text, "text"),
            since=_time_in(self.since, "since"),
            until=_time_in(self.until, "until"),
        )


def _storable(text: str | None, path: str) -> str | None:
    if text is not None and ("\x00" in text or not text.isprintable()):
        raise InvalidJob([Problem(path, "holds control characters")])
    return text or None


def _time_in(text: str | None, path: str) -> datetime | timedelta | None:
    """Return the time or the age that `text` says; InvalidJob for anything else."""
    if not text:
        return None
    if (age := parse_age(text)) is not None:
        return age
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidJob([Problem(path, f"{text[:40]!r} is neither an age (90s, 5m, 2h, 3d) nor a time")]) from error
    if found.tzinfo is None or not 1970 <= found.year <= 9998:  # noqa: PLR2004 - what every database can hold
        raise InvalidJob([Problem(path, "a time needs its zone, and a year from 1970 on: 2026-11-27T06:00:00Z")])
    return found
