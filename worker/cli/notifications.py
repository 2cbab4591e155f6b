"""Who is informed of the ends of jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.adapters.notifying import NotificationSender, check_address
from worker.app.control import control
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import moment, say_json
from worker.cli.session import read_file
from worker.cli.tables import Column, say_table
from worker.cli.words import say
from worker.control.notifications import (
    delete_notification,
    get_notification,
    list_notifications,
    put_notification,
    try_notification,
)
from worker.core.message.wire import parse
from worker.settings import load

if TYPE_CHECKING:
    from worker.core.notification import StoredNotification

Name = Annotated[str, typer.Argument(metavar="NAME", help="The notification's name.")]


def document(stored: StoredNotification) -> dict[str, Any]:
    """Return what is shown of a notification: its address and its secret are not."""
    return stored.model_dump(mode="json") | {"document": stored.notification.shown}


def show_list(as_json: Json = False) -> None:
    """Print the notifications."""

    async def command() -> list[StoredNotification]:
        async with control(load()) as everything:
            return await list_notifications(everything)

    found = asyncio.run(command())
    if as_json:
        say_json([document(one) for one in found])
        return
    columns = (Column("NAME"), Column("TO"), Column("STATES"), Column("SENT"), Column("PROBLEM", 20, folds=True))
    rows = []
    for one in found:
        shown = one.notification.shown
        off = "" if one.notification.enabled else " (off)"
        rows.append((one.name, shown["url"] + off, ", ".join(shown["states"]), moment(one.sent_at), one.problem or ""))
    say_table(columns, rows, "no notifications")


def get(name: Name, as_json: Json = False) -> None:
    """Print one notification; `…` stands for what is secret, and `put` leaves that as it is."""
    del as_json  # it is JSON either way

    async def command() -> StoredNotification:
        async with control(load()) as everything:
            return await get_notification(everything, name)

    say_json(asyncio.run(command()).notification.shown)


def put(
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The notification as a JSON object.")],
    as_json: Json = False,
) -> None:
    """Store one notification."""
    body = parse(read_file(file))

    async def command() -> Any:
        async with control(load()) as everything:
            return (await put_notification(everything, name, body, check_address)).shown

    shown = asyncio.run(command())
    if as_json:
        say_json(shown)
    else:
        say(f"{name} is stored; `leveret notifications test {name}` sends a sample")


def delete(name: Name, as_json: Json = False) -> None:
    """Delete one notification."""

    async def command() -> None:
        async with control(load()) as everything:
            await delete_notification(everything, name)

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted")


def send_sample(name: Name, as_json: Json = False) -> None:
    """Send a sample."""
    settings = load()

    async def command() -> None:
        async with control(settings) as everything:
            await try_notification(everything, name, NotificationSender(allow_private=settings.allow_private_addresses))

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "sent": True})
    else:
        say(f"a sample is sent to {name}")
