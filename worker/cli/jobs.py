"""What is and was: jobs, job, watch; and steering one: cancel, retry."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Annotated

import typer

from worker import app
from worker.cli.follow import follow, follow_all
from worker.cli.letters import retry as retry_job
from worker.cli.live import watch_fleet
from worker.cli.render import JOB_COLUMNS, JOB_LIST, job_document, job_line, job_row, say_job, say_json
from worker.cli.session import EXIT_CODES, CommandRefused, database, known_job
from worker.cli.tables import on_terminal, say_table
from worker.cli.words import say
from worker.core.attempt import StateChange
from worker.core.errors import BrokerUnavailable, Misconfigured
from worker.core.job import Lane  # noqa: TC001 - as below
from worker.core.record import State  # noqa: TC001 - Typer reads it at run time
from worker.settings import Settings, load

JobId = Annotated[
    str, typer.Argument(metavar="ID", help="The job's id, or its first characters: four or more.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
MAX_LISTED = 100_000
UNSEEN = "`--unseen` cancels a message that no worker has seen yet"


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
        help="Run a dead or cancelled job again. It gets a new round of attempts.",
        epilog="Example: leveret retry 9b0c && leveret watch 9b0c",
    )(retry)


def jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.", show_default=False)] = None,
    lane: Annotated[Lane | None, typer.Option(help="Only jobs of this lane.", show_default=False)] = None,
    worker: Annotated[
        str | None, typer.Option(metavar="WORKER", help="Only jobs that this worker had.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only jobs no older than 90s, 5m, 2h or 3d.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LISTED, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Print the newest jobs first."""
    age = seconds_in(since) if since is not None else None

    async def command() -> None:
        async with database(load()) as repository:
            found = await repository.jobs(state, limit, lane=lane, worker=worker, since=age)
        if as_json:
            say_json([job_document(record) for record in found])
        elif on_terminal():
            say_table(JOB_LIST, [job_line(record) for record in found], "no jobs")
        else:
            say_table(JOB_COLUMNS, [job_row(record) for record in found], "no jobs", cut_last=True)

    asyncio.run(command())


def seconds_in(text: str) -> float:
    """Return the seconds of `90s`, `5m`, `2h` or `3d`; a usage error for anything else."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age; there are 90s, 5m, 2h and 3d")
    return int(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[match[2]]


def job(job_id: JobId, as_json: Json = False) -> None:
    """Print one job."""

    async def command() -> None:
        async with database(load()) as repository:
            record = await known_job(repository, job_id)
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
        async with database(load()) as repository:
            if job_id is None:
                if on_terminal():
                    await watch_fleet(load(), repository)
                else:
                    await follow_all(repository, limit)
                return 0
            record = await follow(repository, (await known_job(repository, job_id)).job_id)
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

    async def command() -> tuple[str, str]:
        settings = load()
        async with database(settings) as repository:
            known = await repository.job(name) if unseen else await known_job(repository, name, UNSEEN)
            job_id = known.job_id if known else name
            if known is not None and known.state in {"completed", "dead"}:
                raise CommandRefused(f"the job {job_id} is {known.state} already")
            state = await repository.request_cancel(job_id)
        if state == "cancelled" and (known is None or known.state != state):
            _tell_cancelled(settings, job_id, known.title if known else "")
        return job_id, state

    job_id, state = asyncio.run(command())
    if state in {"completed", "dead"}:
        raise CommandRefused(f"the job {job_id} is {state} already")
    if state == "publishing":
        raise CommandRefused(f"the job {job_id} is being published: too late to cancel")
    if as_json:
        say_json({"job_id": job_id, "state": state})
    elif state == "cancelled":
        say(f"{job_id} is cancelled")
    else:
        say(f"{job_id} is {state}; its worker stops it within seconds: `leveret watch {job_id}`")


def _tell_cancelled(settings: Settings, job_id: str, title: str) -> None:
    """Publish the event that no worker will: the job ended while it waited. Without a broker nobody listens."""
    with suppress(BrokerUnavailable, Misconfigured), app.publisher(settings) as publisher:
        publisher.tell(StateChange(job_id, title, "cancelled"))


def retry(job_id: JobId, as_json: Json = False) -> None:
    """Run a dead, cancelled or lost job again."""

    async def command() -> None:
        settings = load()
        async with database(settings) as repository:
            record = await known_job(repository, job_id)
            with app.publisher(settings) as publisher:
                told = await retry_job(repository, publisher, record)
            if as_json:
                say_json(job_document(await known_job(repository, record.job_id)))
            else:
                say(told)

    asyncio.run(command())
