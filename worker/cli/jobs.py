"""The command `jobs`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from worker.app.operations import lookups
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads them at run time
from worker.cli.render import (
    JOB_COLUMNS,
    JOB_LIST,
    job_document,
    job_line,
    job_row,
    say_json,
)
from worker.cli.tables import on_terminal, say_table
from worker.cli.times import seconds_in
from worker.core.job import Lane  # noqa: TC001 - as below
from worker.core.listing import JobFilter
from worker.core.record import State  # noqa: TC001 - Typer reads it at run time

MAX_LISTED = 100_000


def jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.", show_default=False)] = None,
    lane: Annotated[Lane | None, typer.Option(help="Only jobs of this lane.", show_default=False)] = None,
    worker: Annotated[
        str | None, typer.Option(metavar="WORKER", help="Only jobs that this worker had.", show_default=False)
    ] = None,
    module: Annotated[
        str | None, typer.Option(metavar="MODULE", help="Only jobs with a task of this module.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only jobs with this in title or id.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only jobs no older than 90s, 5m, 2h or 3d.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only jobs at least this old.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LISTED, help="At most this many.")] = 50,
    as_json: Json = False,
) -> None:
    """Print the newest jobs first."""
    chosen = JobFilter(
        state=state, lane=lane, worker=worker, module=module, text=text, since=_age(since), until=_age(until)
    )

    async def command() -> None:
        async with lookups() as known:
            found = [record async for record in known.matching_jobs(chosen, limit=limit, details=as_json)]
        if as_json:
            say_json([job_document(record) for record in found])
        elif on_terminal():
            say_table(JOB_LIST, [job_line(record) for record in found], "no jobs")
        else:
            say_table(JOB_COLUMNS, [job_row(record) for record in found], "no jobs", cut_last=True)

    asyncio.run(command())


def _age(text: str | None) -> timedelta | None:
    return None if text is None else timedelta(seconds=seconds_in(text))
