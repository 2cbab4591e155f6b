"""Hooks: calls from other programs that make jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import say_json
from worker.cli.session import read_file
from worker.cli.tables import Column, say_table
from worker.cli.words import say
from worker.control.intake.hooks import new_secret
from worker.core.figures import moment
from worker.core.message.wire import parse

if TYPE_CHECKING:
    from worker.core.hook import HookCall, HookView

Name = Annotated[str, typer.Argument(metavar="NAME", help="The hook's name, which its address ends with.")]


def show_list(as_json: Json = False) -> None:
    """Print the hooks."""

    async def command() -> list[HookView]:
        async with operations() as known:
            return await known.list_hooks()

    found = asyncio.run(command())
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (one.name, str(one.document["kind"]), str(one.document["template"]), f"/api/v1/hooks/{one.name}")
        for one in found
    ]
    say_table((Column("NAME"), Column("KIND"), Column("TEMPLATE"), Column("ADDRESS", 20)), rows, "no hooks")


def get(name: Name, as_json: Json = False) -> None:
    """Print one hook; `…` stands for its secret, and `put` leaves that as it is."""
    del as_json  # it is JSON either way

    async def command() -> HookView:
        async with operations() as known:
            return await known.get_hook(name)

    say_json(asyncio.run(command()).document)


def put(
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The hook as a JSON object.")],
    as_json: Json = False,
) -> None:
    """Store one hook. If it names no secret, one is made and printed once."""
    document = parse(read_file(file))
    made = ""
    if isinstance(document, dict) and "secret" not in document:
        made = new_secret()
        document |= {"secret": made}

    async def command() -> HookView:
        async with operations() as known:
            return await known.put_hook(name, document)

    hook = asyncio.run(command())
    if as_json:
        shown: dict[str, Any] = hook.document | ({"secret": made} if made else {})
        say_json(shown)
        return
    say(f"{name} is stored: POST to /api/v1/hooks/{name}")
    if made:
        say(f"its secret, which is shown only once: {made}")


def delete(name: Name, as_json: Json = False) -> None:
    """Delete one hook."""

    async def command() -> None:
        async with operations() as known:
            await known.delete_hook(name)

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted")


def calls(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """Print the genuine calls of a hook, the newest first."""

    async def command() -> list[HookCall]:
        async with operations() as known:
            return await known.list_calls(name, limit)

    found = asyncio.run(command())
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [(moment(one.received_at), one.event, one.subject, one.job_id or "", one.outcome) for one in found]
    columns = (Column("WHEN"), Column("EVENT"), Column("ABOUT", 12), Column("JOB"), Column("OUTCOME", 20, folds=True))
    say_table(columns, rows, "no calls")
