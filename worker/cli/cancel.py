"""Steering one job: cancel, retry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.operations import operations
from worker.cli.arguments import JobId, Json  # noqa: TC001 - Typer reads them at run time
from worker.cli.render import job_document, say_json, say_republished
from worker.cli.words import say

if TYPE_CHECKING:
    from worker.control.jobs import CancelRequest


def cancel(
    name: JobId,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Cancel a message that no worker has seen yet; ID must be complete.")
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
