"""The dead-letter queue: list, show, replay, purge. Looking never loses a message."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.control import control
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import moment, say_facts, say_json, say_republished, size
from worker.cli.session import read_file
from worker.cli.tables import Column, say_table
from worker.cli.words import say, warn
from worker.control.dead_letters import Replayed, list_dead, purge_all, purge_dead, replay_all, replay_dead, show_dead
from worker.core.routing import DEAD_QUEUE
from worker.settings import load

if TYPE_CHECKING:
    from worker.control.dead_letters import DeadList, DeadMessage

Name = Annotated[
    str | None,
    typer.Argument(metavar="ID", help="A job's id, a message's id, or the first digits of a body's sha256."),
]
EXCERPT = 4000
_COLUMNS = (
    Column("DIED", rank=2),
    Column("JOB"),
    Column("SHA256", rank=1),
    Column("ERROR", rank=3),
    Column("REASON", 25),
)


def show_list(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100, as_json: Json = False
) -> None:
    """Print the newest dead messages."""

    async def command() -> DeadList:
        async with control(load()) as everything:
            return await list_dead(everything, limit)

    found = asyncio.run(command())
    messages = found.messages
    if as_json:
        say_json([message.document() for message in messages])
        return
    rows = [
        (
            moment(message.letter.died_at),
            message.letter.job_id or "",
            message.letter.digest[:12],
            message.error_type,
            "; ".join(message.reasons),
        )
        for message in messages
    ]
    say_table(_COLUMNS, rows, "no dead messages", cut_last=True)
    if found.count > len(rows):
        say(f"… and {found.count - len(rows)} older ones: --limit shows more")


def show(name: Name = None, as_json: Json = False) -> None:
    """Print one dead message."""

    async def command() -> DeadMessage:
        async with control(load()) as everything:
            return await show_dead(everything, name)

    message = asyncio.run(command())
    if as_json:
        headers = {key: value for key, value in message.letter.headers.items() if key.startswith("x-")}
        say_json(message.document() | {"headers": headers, "body": message.text})
        return
    letter, record = message.letter, message.record
    say_facts(
        {
            "job": letter.job_id or "none",
            "title": record.title if record else "",
            "died": moment(letter.died_at),
            "error": message.error_type,
            "queue": ".".join(("media", *message.route)),
            "attempts": str(len(record.attempts)) if record else "0, it never became a job",
            "message id": letter.message_id or "none",
            "sha256": letter.digest,
            "size": size(len(letter.body)),
        }
    )
    for reason in message.reasons:
        say(f"reason: {reason}")
    say("")
    say(message.text[:EXCERPT] + (" …" if len(message.text) > EXCERPT else ""))


def replay(
    name: Name = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead messages.")] = False,
    document: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="FILE|-", help="Publish this document instead of a wrong one.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Return 0 when everything asked for was published again, else 1."""
    if (name is None) != everything:
        raise typer.BadParameter("give an ID, or --all")
    if document is not None and everything:
        raise typer.BadParameter("--with goes with one ID")
    body = read_file(document) if document is not None else None

    async def command() -> Replayed:
        async with control(load()) as known:
            if name is None:
                return await replay_all(known)
            return Replayed((await replay_dead(known, name, body),), ())

    found = asyncio.run(command())
    if as_json:
        say_json({"replayed": len(found.published), "refused": list(found.refused)})
    else:
        for item in found.published:
            say_republished(item)
        if not found.published and not found.refused:
            say("no dead messages")
    for line in found.refused:
        warn(line)
    return 1 if found.refused else 0


def purge(
    name: Name = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete what the person confirmed; asked before connecting, for a person may think longer than a heartbeat."""
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: add --yes")
        typer.confirm(f"Delete {'all messages' if name is None else name} from {DEAD_QUEUE} for good?", abort=True)

    async def command() -> int:
        async with control(load()) as everything:
            return await (purge_all(everything) if name is None else purge_dead(everything, name))

    count = asyncio.run(command())
    if as_json:
        say_json({"purged": count})
    else:
        say(f"{count} dead message{'' if count == 1 else 's'} deleted")
