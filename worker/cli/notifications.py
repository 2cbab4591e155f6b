"""The commands `notifications`."""

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
from worker.core.figures import moment
from worker.core.message.wire import parse

if TYPE_CHECKING:
    from worker.core.notification import NotificationView

Name = Annotated[str, typer.Argument(metavar="NAME", help="The notification's name.")]


def show_list(as_json: Json = False) -> None:
    """Print the notifications."""

    async def command() -> list[NotificationView]:
        async with operations() as known:
            return await known.list_notifications()

    found = asyncio.run(command())
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    columns = (Column("NAME"), Column("TO"), Column("STATES"), Column("SENT"), Column("PROBLEM", 20, folds=True))
    rows = []
    for one in found:
        shown = one.document
        off = "" if shown["enabled"] else " (off)"
        rows.append((one.name, shown["url"] + off, ", ".join(shown["states"]), moment(one.sent_at), one.problem or ""))
    say_table(columns, rows, "no notifications")


def get(name: Name, as_json: Json = False) -> None:
    """Print one notification; `…` stands for what is secret, and `put` leaves that as it is."""
    del as_json  # it is JSON either way

    async def command() -> NotificationView:
        async with operations() as known:
            return await known.get_notification(name)

    say_json(asyncio.run(command()).document)


def put(
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The notification as a JSON object.")],
    as_json: Json = False,
) -> None:
    """Store one notification."""
    body = parse(read_file(file))

    async def command() -> Any:
        async with operations() as known:
            return (await known.put_notification(name, body)).document

    shown = asyncio.run(command())
    if as_json:
        say_json(shown)
    else:
        say(f"{name} is stored; `leveret notifications test {name}` sends a sample")


def delete(name: Name, as_json: Json = False) -> None:
    """Delete one notification."""

    async def command() -> None:
        async with operations() as known:
            await known.delete_notification(name)

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted")


def send_sample(name: Name, as_json: Json = False) -> None:
    """Send a sample."""

    async def command() -> None:
        async with operations() as known:
            await known.try_notification(name)

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "sent": True})
    else:
        say(f"a sample is sent to {name}")
