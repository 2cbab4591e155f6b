"""Submitting a job."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from worker.app.control import control
from worker.cli.follow import follow, until_ended
from worker.cli.render import job_document, say_json
from worker.cli.session import EXIT_CODES, read_file
from worker.cli.words import say, warn
from worker.control.submit import submit as submit_document
from worker.core.job import Lane, Priority  # noqa: TC001 - Typer reads them at run time
from worker.settings import load


def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="The message, in any accepted shape.", show_default=False)
    ],
    priority: Annotated[
        Priority | None, typer.Option(help="Goes before the message's own.", show_default=False)
    ] = None,
    lane: Annotated[
        Lane | None, typer.Option(help="Goes before the message's own; by default derived.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Wait, and show how it goes.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the job's record, after --wait the final one, as JSON.")
    ] = False,
) -> int:
    """Return the exit code."""
    body = read_file(file)

    async def command() -> int:
        async with control(load(), may_create=True) as everything:
            submitted = await submit_document(everything, body, lane=lane, priority=priority)
            record = submitted.record
            for line in submitted.warnings:
                warn(line)
            if not as_json:
                say(record.job_id)
            if watch and not as_json:
                record = await follow(everything, record.job_id)
            elif wait or watch:
                record = await until_ended(everything, record.job_id)
        if as_json:
            say_json(job_document(record))
        if record.state == "dead" and (as_json or not watch):
            warn(f"{record.job_id} is dead: {record.error_type}: {record.error}")
        return EXIT_CODES[record.state] if wait or watch else 0

    return asyncio.run(command())
