"""The dead-letter queue: list, show, replay, purge. Looking never loses a message."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import say_facts, say_json, say_republished
from worker.cli.session import read_file
from worker.cli.tables import Column, on_terminal, say_table
from worker.cli.words import say, warn
from worker.control.replay import Replayed
from worker.core.figures import moment, size
from worker.core.routing import DEAD_QUEUE, queue_of

if TYPE_CHECKING:
    from worker.core.views import DeadPage, DeadWhole

Name = Annotated[
    str | None,
    typer.Argument(metavar="ID", help="A job's id, a message's id, or the first digits of a body's sha256."),
]
EXCERPT = 4000
DEAD_LIST = (
    Column("DIED"),
    Column("JOB"),
    Column("SHA256", rank=1),
    Column("ERROR", rank=2),
    # a reason says at its end what was wrong
    Column("REASON", 20, folds=True),
)


def show_list(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 100, as_json: Json = False
) -> None:
    """Print the newest dead messages."""

    async def command() -> DeadPage:
        async with operations() as known:
            return await known.list_dead(limit)

    found = asyncio.run(command())
    messages = found.messages
    if as_json:
        say_json([message.model_dump(mode="json") for message in messages])
        return
    rows = [
        (
            moment(message.died_at),
            # a narrow terminal has no room for the column of the digits, by which one without an id is named
            message.job_id or (f"sha256 {message.sha256[:12]}" if on_terminal() else ""),
            message.sha256[:12],
            message.error_type,
            "; ".join(message.reasons),
        )
        for message in messages
    ]
    say_table(DEAD_LIST, rows, "no dead messages", cut_last=True)
    if found.count > len(rows):
        say(f"… and {found.count - len(rows)} older ones: --limit shows more")


def show(name: Name = None, as_json: Json = False) -> None:
    """Print one dead message."""

    async def command() -> DeadWhole:
        async with operations() as known:
            return await known.show_dead(name)

    message = asyncio.run(command())
    if as_json:
        say_json(message.model_dump(mode="json"))
        return
    say_facts(
        {
            "job": message.job_id or "none",
            "title": message.title or "",
            "died": moment(message.died_at),
            "error": message.error_type,
            "queue": queue_of(message.lane, message.priority),
            "attempts": "0: the message is not a valid job" if message.attempts is None else str(message.attempts),
            "message id": message.message_id or "none",
            "sha256": message.sha256,
            "size": size(message.bytes),
        }
    )
    for reason in message.reasons:
        say(f"reason: {reason}")
    say("")
    say(message.body[:EXCERPT] + (" …" if len(message.body) > EXCERPT else ""))


def replay(
    name: Name = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead messages.")] = False,
    document: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="FILE|-", help="Publish this document instead of the message.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Return 0 when everything asked for was published again, else 1."""
    if (name is None) != everything:
        raise typer.BadParameter("give an ID, or --all")
    if document is not None and everything:
        raise typer.BadParameter("--with needs one ID")
    body = read_file(document) if document is not None else None

    async def command() -> Replayed:
        async with operations() as known:
            if name is None:
                return await known.replay_all()
            return Replayed((await known.replay_dead(name, body),), ())

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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Delete what the person confirmed; asked before connecting, for a person may think longer than a heartbeat."""
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on: add --yes")
        typer.confirm(f"Delete {'all messages' if name is None else name} from {DEAD_QUEUE} for good?", abort=True)

    async def command() -> int:
        async with operations() as known:
            return await (known.purge_all() if name is None else known.purge_dead(name))

    count = asyncio.run(command())
    if as_json:
        say_json({"purged": count})
    else:
        say(f"{count} dead message{'' if count == 1 else 's'} deleted")
