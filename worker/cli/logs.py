"""The command `logs`: the output of a job's tools."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.app.operations import lookups
from worker.cli.render import say_json
from worker.cli.words import printable
from worker.control.errors import NotFound
from worker.core.figures import moment
from worker.core.growing_text import news

if TYPE_CHECKING:
    from worker.control.operations import LookOperations
    from worker.core.record import LogRecord

POLL_SECONDS: Final = 0.5


def logs(
    name: Annotated[
        str,
        typer.Argument(metavar="ID", help="The job's id, or its first characters: four or more.", show_default=False),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the job has ended.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="The log of this attempt instead of the newest.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Print a job's log."""
    if follow and (as_json or attempt is not None):
        raise typer.BadParameter("--follow cannot be combined with --json or --attempt")

    async def command() -> None:
        async with lookups() as known:
            job_id = (await known.find_job(name)).job_id
            if follow:
                await _follow(known, job_id)
                return
            found = await known.job_log(job_id, attempt)
        if as_json:
            say_json(found.model_dump(mode="json"))
        else:
            _write(found.text)

    asyncio.run(command())


async def _follow(known: LookOperations, job_id: str) -> None:
    """Print what is new until the job has ended; the log is read after the state, so that its last words are in it."""
    shown: LogRecord | None = None
    while True:
        ended = (await known.find_job(job_id)).is_terminal
        with suppress(NotFound):
            found = await known.job_log(job_id)
            if shown is None or shown.epoch != found.epoch:
                _write(f"--- attempt {found.number} on {found.worker}, {moment(found.updated_at)}\n")
                shown = None
            _write(news(shown.text if shown else "", found.text))
            shown = found
        if ended:
            return
        await asyncio.sleep(POLL_SECONDS)


def _write(text: str) -> None:
    for line in text.splitlines():
        sys.stdout.write(printable(line) + "\n")
    sys.stdout.flush()
