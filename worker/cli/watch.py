"""Following: one job until it ends, or the whole fleet."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from worker.app.control import control
from worker.cli.follow import follow, follow_all
from worker.cli.live import watch_fleet
from worker.cli.render import say_job
from worker.cli.session import EXIT_CODES
from worker.cli.tables import on_terminal
from worker.cli.words import say
from worker.control.query import find_job
from worker.settings import load


def watch(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="The job's id; without it, all jobs.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Without an ID and a terminal: how many jobs.")] = 20,
) -> int:
    """Return the exit code that says how the job ended."""

    async def command() -> int:
        async with control(load()) as everything:
            if job_id is None:
                if on_terminal():
                    await watch_fleet(everything)
                else:
                    await follow_all(everything, limit)
                return 0
            record = await follow(everything, (await find_job(everything, job_id)).job_id)
        if on_terminal():
            say("")
            say_job(record)
        return EXIT_CODES[record.state]

    return asyncio.run(command())
