"""The command `job`: it imports little, for people type it often."""

from __future__ import annotations

import asyncio

from worker.app.operations import lookups
from worker.cli.arguments import JobId, Json  # noqa: TC001 - Typer reads them at run time
from worker.cli.render import job_document, say_job, say_json


def job(job_id: JobId, as_json: Json = False) -> None:
    """Print one job."""

    async def command() -> None:
        async with lookups() as known:
            record = await known.find_job(job_id)
        if as_json:
            say_json(job_document(record))
        else:
            say_job(record)

    asyncio.run(command())
