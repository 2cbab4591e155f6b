"""What is and was: jobs, job, watch; and steering one: cancel, retry."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.operations import operations
from worker.cli.follow import follow, follow_all
from worker.cli.live import watch_fleet
from worker.cli.render import (
    JOB_COLUMNS,
    JOB_LIST,
    job_document,
    job_line,
    job_row,
    say_job,
    say_json,
    say_republished,
)
from worker.cli.session import EXIT_CODES
from worker.cli.tables import on_terminal, say_table
from worker.cli.times import seconds_in
from worker.cli.words import say
from worker.core.job import Lane  # noqa: TC001 - as below
from worker.core.listing import JobFilter
from worker.core.record import State  # noqa: TC001 - Typer reads it at run time

if TYPE_CHECKING:
    from worker.control.jobs import CancelRequest

JobId = Annotated[
    str, typer.Argument(metavar="ID", help="The job's id, or its first characters: four or more.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
MAX_LISTED = 100_000


def add_to(cli: typer.Typer) -> None:
    """Add the commands of this file."""
    cli.command("jobs", help="List the newest jobs.", epilog="Example: leveret jobs --state dead --since 2h")(jobs)
    cli.command("job", help="Show all that is known of one job.", epilog="Example: leveret job 9b0c --json")(job)
    cli.command(
        "watch",
        help="Follow one job, or all. One is followed until it ends (exit 0 completed, 1 dead, 2 cancelled), all are "
        "until q or Ctrl-C.",
        epilog="Example: leveret watch 9b0c",
    )(watch)
    cli.command(
        "cancel",
        help="Cancel a job. At once while it waits; a running one is stopped by its worker within seconds.",
        epilog="Example: leveret cancel 9b0c",
    )(cancel)
    cli.command(
        "retry",
        help="Run a job again. A dead or cancelled one gets a new round of attempts; a retrying one does not wait.",
        epilog="Example: leveret retry 9b0c && leveret watch 9b0c",
    )(retry)


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
        str | None, typer.Option(metavar="AGE", help="Only jobs at least so old.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LISTED, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Print the newest jobs first."""
    chosen = JobFilter(
        state=state, lane=lane, worker=worker, module=module, text=text, since=_age(since), until=_age(until)
    )

    async def command() -> None:
        async with operations() as known:
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


def job(job_id: JobId, as_json: Json = False) -> None:
    """Print one job."""

    async def command() -> None:
        async with operations() as known:
            record = await known.find_job(job_id)
        if as_json:
            say_json(job_document(record))
        else:
            say_job(record)

    asyncio.run(command())


def watch(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="The job's id; without it, all jobs.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Without an ID and a terminal: how many jobs.")] = 20,
) -> int:
    """Return the exit code that says how the job ended."""

    async def command() -> int:
        async with operations() as known:
            if job_id is None:
                if on_terminal():
                    await watch_fleet(known)
                else:
                    await follow_all(known, limit)
                return 0
            record = await follow(known, (await known.find_job(job_id)).job_id)
        if on_terminal():
            say("")
            say_job(record)
        return EXIT_CODES[record.state]

    return asyncio.run(command())


def cancel(
    name: JobId,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Cancel a message that no worker has seen yet; ID is whole then.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask for the cancellation of a job."""

    async def command() -> CancelRequest:
        async with operations() as known:
            return await known.cancel_job(name, unseen=unseen)

    asked = asyncio.run(command())
    if as_json:
        say_json({"job_id": asked.job_id, "state": asked.state})
    elif asked.state == "cancelled":
        say(f"{asked.job_id} is cancelled")
    else:
        say(f"{asked.job_id} is {asked.state}; its worker stops it within seconds: `leveret watch {asked.job_id}`")


def retry(job_id: JobId, as_json: Json = False) -> None:
    """Run a dead, cancelled or lost job again, a retrying one at once."""

    async def command() -> None:
        async with operations() as known:
            published = await known.retry_job(job_id)
            if as_json:
                say_json(job_document(await known.find_job(published.name)))
            else:
                say_republished(published)

    asyncio.run(command())
