"""Following jobs: a progress bar on a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.progress import BarColumn, Progress, TextColumn

from worker.cli.fitted import cut_middle
from worker.cli.render import part_cells, progress_of
from worker.cli.tables import on_terminal, one_line
from worker.cli.words import printable, say
from worker.core.listing import JobFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.control.operations import LookOperations
    from worker.core.record import JobRecord

POLL_SECONDS: Final = 0.25
LIST_POLL_SECONDS: Final = 0.5
AT_ONCE: Final = 2.0
"""The seconds of watching within which a job that waits needs no reason: it may begin this moment."""
STEP_PERCENT: Final = 5
BAR: Final = 20
TITLE: Final = 60
SHORTEST_TITLE: Final = 8


async def until_ended(
    known: LookOperations, job_id: str, show: Callable[[JobRecord], None] = lambda _: None
) -> JobRecord:
    """Return the job's record once it has ended; `show` gets every record that was read on the way."""
    while True:
        record = await known.find_job(job_id)
        show(record)
        if record.is_terminal:
            return record
        await asyncio.sleep(POLL_SECONDS)


async def follow(known: LookOperations, job_id: str) -> JobRecord:
    """Return the job's record once it has ended, having shown people how it went."""
    if not on_terminal():
        return await until_ended(known, job_id, Changes().show)
    bar = Progress(
        TextColumn("{task.fields[title]}", markup=False),
        BarColumn(BAR),
        TextColumn("{task.fields[state]}", markup=False),
        TextColumn("{task.fields[detail]}", markup=False),
        refresh_per_second=4,
    )
    begun = time.monotonic()
    with bar:
        shown = bar.add_task("", total=100, title="", state="", detail="")

        def show(record: JobRecord) -> None:
            waiting = record.state in {"queued", "retrying"}
            percent = 100 if record.state == "completed" else record.progress.percent
            facts = printable(detail(record, time.monotonic() - begun))[:200]
            bar.update(
                shown,
                total=None if percent is None and not record.is_terminal and not waiting else 100,
                completed=percent or 0,
                title=title_for(record.title, bar.console.width - BAR, record.state, facts),
                state=record.state,
                detail=facts,
            )

        return await until_ended(known, job_id, show)


def title_for(title: str, width: int, *others: str) -> str:
    """Return as much of a title as finds room beside the bar and the other texts of its line, in cells."""
    room = width - sum(cell_len(text) + 1 for text in others) - 1
    return cut_middle(one_line(title), max(SHORTEST_TITLE, min(TITLE, room)))


async def follow_all(known: LookOperations, limit: int) -> None:
    """Print the changes of the newest jobs for as long as somebody reads them."""
    changes = Changes()
    while True:
        newest = [record async for record in known.matching_jobs(JobFilter(), limit=limit)]
        for record in reversed(newest):
            changes.show(record)
        await asyncio.sleep(LIST_POLL_SECONDS)


def detail(record: JobRecord, watched: float) -> str:
    """Return why a job failed or waits, or how far it is; `watched` are the seconds that somebody has followed it."""
    if record.state in {"dead", "retrying"}:
        return record.error or ""
    if record.state == "queued":
        return (record.waits or "") if watched > AT_ONCE else ""
    return "  ".join(filter(None, (progress_of(record), part_cells(record) if record.state == "waiting" else "")))


class Changes:
    """Lines for a log: one a job whenever its state, task, error or reason to wait changes, or it is 5 % further."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._last: dict[str, tuple[object, ...]] = {}

    def show(self, record: JobRecord) -> None:
        """Print the line if there is something new."""
        step = int(record.progress.percent or 0) // STEP_PERCENT
        facts = detail(record, time.monotonic() - self._begun)
        reason = facts if record.state == "queued" else record.error
        seen = (record.state, record.round, record.progress.task, step, reason)
        if self._last.get(record.job_id) != seen:
            self._last[record.job_id] = seen
            say("  ".join(filter(None, (record.job_id, record.state, facts))))
