"""Following: one job until it ends, or the whole fleet."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from worker.app.operations import operations
from worker.cli.follow import follow, follow_all
from worker.cli.live import watch_fleet
from worker.cli.render import say_job
from worker.cli.session import EXIT_CODES
from worker.cli.tables import on_terminal
from worker.cli.words import say


def watch(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="The job's id; without it, all jobs.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="How many jobs to list where there is no terminal and no ID.")
    ] = 20,
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
