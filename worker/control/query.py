"""Queries: one job, pages of jobs, logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from worker.control.errors import Conflict, NotFound
from worker.control.waits import why_queued
from worker.core.hints import nearest
from worker.core.listing import MAX_LISTED, JobFilter, Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.ports.jobs import JobLookups
    from worker.core.record import JobRecord, LogRecord

SHORTEST_PREFIX: Final = 4
MAX_NAMED: Final = 5
NEAR_JOBS: Final = 500
"""The newest jobs, among which the nearest id to a mistyped one is looked for."""


class Looking(Protocol):
    """The part of a `Control` that queries use."""

    @property
    def stores(self) -> JobLookups:
        """Return the database."""
        ...

    @property
    def offline_seconds(self) -> float:
        """Return the silence after which a worker is offline."""
        ...


@dataclass(frozen=True, slots=True)
class LookControl:
    """A `Looking` and no more."""

    stores: JobLookups
    offline_seconds: float


async def find_job(control: Looking, name: str, hint: str = "") -> JobRecord:
    """Return the whole record of the job with the id `name`, or of the only one whose id begins with it.

    Conflict names the jobs that `name` could mean, NotFound the nearest recent id, or `hint`.
    """
    record = await control.stores.job(name)
    if record is not None:
        return await _with_reason(control, record)
    meant = await control.stores.ids(name, MAX_NAMED + 1) if name else []
    if len(name) >= SHORTEST_PREFIX and meant:
        if len(meant) > 1:
            count = f"more than {MAX_NAMED}" if len(meant) > MAX_NAMED else str(len(meant))
            named = ", ".join(meant[:MAX_NAMED]) + (" …" if len(meant) > MAX_NAMED else "")
            raise Conflict(f"{name!r} is the beginning of {count} jobs' ids: {named}")
        if (record := await control.stores.job(meant[0])) is not None:
            return await _with_reason(control, record)
    recent = await control.stores.page(JobFilter(), NEAR_JOBS)
    near = nearest(name, [job.job_id for job in recent.jobs])
    if not near and not hint and meant:
        hint = f"of an id give at least {SHORTEST_PREFIX} characters"
    raise NotFound(f"there is no job {name!r}{near}" + (f"{'' if near else ';'} {hint}" if hint else ""))


async def _with_reason(control: Looking, record: JobRecord) -> JobRecord:
    """Return the record with why it waits, of a job that is queued."""
    if record.state != "queued":
        return record
    fleet = await control.stores.workers(control.offline_seconds)
    return record.model_copy(update={"waits": why_queued(record.lane, record.refused_by, fleet)})


async def list_jobs(
    control: Looking, chosen: JobFilter, *, limit: int = 50, cursor: str | None = None, details: bool = False
) -> Page:
    """Return a page of the newest jobs that match; with `details` each has its attempts and artifacts.

    A limit above 1,000 is taken as 1,000: the rest is asked for with the page's cursor.
    """
    page = await control.stores.page(chosen, min(limit, MAX_LISTED), cursor)
    if not details:
        return page
    return Page(tuple(await control.stores.with_details(page.jobs)), page.next_cursor)


async def matching_jobs(
    control: Looking, chosen: JobFilter, *, limit: int | None = None, details: bool = False
) -> AsyncIterator[JobRecord]:
    """Yield every job that matches, newest first, page by page, at most `limit`."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = MAX_LISTED if left is None else min(left, MAX_LISTED)
        page = await list_jobs(control, chosen, limit=size, cursor=cursor, details=details)
        for record in page.jobs:
            yield record
        cursor = page.next_cursor
        if cursor is None:
            return
        left = None if left is None else left - len(page.jobs)


async def job_log(control: Looking, job_id: str, number: int | None = None) -> LogRecord:
    """Return the log of the job's newest attempt that has one, or of the newest with that number; else NotFound."""
    found = await control.stores.log(job_id, number)
    if found is None:
        which = f" in attempt {number}" if number is not None else ""
        raise NotFound(f"no tool of the job {job_id} has written anything{which}, or its log is deleted by now")
    return found
