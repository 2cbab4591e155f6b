"""Giving a job in."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from worker import app
from worker.cli.follow import follow, until_ended
from worker.cli.render import job_document, say_json
from worker.cli.session import EXIT_CODES, CommandRefused, database, judge, known_job, read_file
from worker.cli.words import say, warn
from worker.core.attempt import StateChange
from worker.core.errors import BrokerUnavailable, InvalidJob, Misconfigured
from worker.core.job import Lane, Priority  # noqa: TC001 - Typer reads them at run time
from worker.core.message.dialects import decode
from worker.core.record import serving
from worker.settings import load

if TYPE_CHECKING:
    from worker.core.job import Job
    from worker.core.ports import Repository
    from worker.settings import Settings

EXAMPLES = """\b
Examples:
  leveret submit job.json --watch
  echo '{"tasks": [...]}' | leveret submit - --priority high"""


def add_to(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command(
        "submit",
        help="Check a message, publish it and print the job's id. With --wait or --watch, the exit code says how "
        "the job ended: 0 completed, 1 dead, 2 cancelled.",
        epilog=EXAMPLES,
    )(submit)


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
    job = decode(body, str(uuid.uuid4()))
    judgement = judge(job, app.registry())
    if judgement.problems:
        raise InvalidJob(judgement.problems)
    route = (lane or judgement.lane, priority or judgement.priority)

    async def command() -> int:
        settings = load()
        async with database(settings, looks=False) as repository:
            await _publish(settings, repository, job, body, route)
            if route[0] not in serving(await repository.workers(settings.offline_seconds)):
                warn(f"no living worker serves the lane {route[0]}: the job waits until one does")
            if not as_json:
                say(job.job_id)
            if watch and not as_json:
                record = await follow(repository, job.job_id)
            elif wait or watch:
                record = await until_ended(repository, job.job_id)
            else:
                record = await known_job(repository, job.job_id)
        if as_json:
            say_json(job_document(record))
        if record.state == "dead" and (as_json or not watch):
            warn(f"{record.job_id} is dead: {record.error_type}: {record.error}")
        return EXIT_CODES[record.state] if wait or watch else 0

    return asyncio.run(command())


async def _publish(settings: Settings, repository: Repository, job: Job, body: bytes, route: tuple[str, str]) -> None:
    """Insert the row, then publish under its id; the broker is reached first, so that it seldom fails in between.

    What was not confirmed is cancelled: should it be in a queue all the same, whoever gets it acks it unrun.
    """
    with app.publisher(settings) as publisher:
        await repository.submit(job, hashlib.sha256(body).hexdigest(), *route)
        try:
            publisher.publish_job(body, job.job_id, *route, dialect=job.dialect)
        except (BrokerUnavailable, Misconfigured) as error:
            await repository.request_cancel(job.job_id)
            raise CommandRefused(
                f"{error}; the job is recorded as cancelled: `leveret retry {job.job_id}` publishes it"
            ) from error
        publisher.tell(StateChange(job.job_id, job.title, "queued"))
