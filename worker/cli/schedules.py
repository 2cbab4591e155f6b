"""Schedules: listed, shown, stored, deleted, and run now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import say_json
from worker.cli.tables import Column, say_table
from worker.cli.templates import values_in
from worker.cli.words import say
from worker.core.figures import moment

if TYPE_CHECKING:
    from worker.core.schedule import ScheduleRecord

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


def show_list(as_json: Json = False) -> None:
    """Print the schedules."""

    async def command() -> list[ScheduleRecord]:
        async with operations() as known:
            return await known.list_schedules()

    found = asyncio.run(command())
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (
            one.name,
            f"{one.document.get('cron')} {one.document.get('zone', 'UTC')}",
            f"{one.document.get('action', 'submit')} {one.document.get('template')}",
            "now" if one.owner else moment(one.next_at) or "off",
            one.last_outcome or "",
        )
        for one in found
    ]
    columns = (Column("NAME"), Column("WHEN"), Column("WHAT"), Column("NEXT"), Column("LAST", 20, folds=True))
    say_table(columns, rows, "no schedules")


def get(name: Name, as_json: Json = False) -> None:
    """Print one schedule."""
    del as_json  # it is JSON either way

    async def command() -> ScheduleRecord:
        async with operations() as known:
            return await known.get_schedule(name)

    say_json(asyncio.run(command()).document)


def put(
    name: Name,
    cron: Annotated[str, typer.Option(metavar="'M H D M W'", help="Minute, hour, day, month, weekday.")],
    template: Annotated[str, typer.Option("--template", "-t", metavar="NAME", help="The template.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]... [KEY=VALUE]...", help="Sources and patterns, and variables."),
    ] = None,
    zone: Annotated[str, typer.Option(help="The time zone: Europe/Berlin.")] = "UTC",
    scan: Annotated[
        bool, typer.Option("--scan", help="Report what each file would become, and submit nothing.")
    ] = False,
    health: Annotated[bool, typer.Option("--health", help="With --scan: decode every file once.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many jobs a run.", show_default=False)] = None,
    off: Annotated[bool, typer.Option("--off", help="Store it without running it by the clock.")] = False,
    as_json: Json = False,
) -> None:
    """Store one schedule."""
    sources, variables = values_in(arguments or [])
    document: dict[str, Any] = {
        "cron": cron, "zone": zone, "template": template, "sources": sources, "variables": variables,
        "action": "scan" if scan else "submit", "health": health, "limit": limit, "enabled": not off,
    }  # fmt: skip

    async def command() -> ScheduleRecord:
        async with operations() as known:
            return await known.put_schedule(name, document)

    stored = asyncio.run(command())
    if as_json:
        say_json(stored.model_dump(mode="json"))
    else:
        say(f"{name} is stored; it runs next at {moment(stored.next_at)}" if stored.next_at else f"{name} is stored")


def delete(name: Name, as_json: Json = False) -> None:
    """Delete one schedule."""

    async def command() -> None:
        async with operations() as known:
            await known.delete_schedule(name)

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted")


def run_now(name: Name, as_json: Json = False) -> int:
    """Run one schedule now; 1 when the run failed."""

    async def command() -> str:
        async with operations() as known:
            return await known.run_schedule(name)

    outcome = asyncio.run(command())
    if as_json:
        say_json({"name": name, "outcome": outcome})
    else:
        say(f"{name}: {outcome}")
    return 1 if outcome.startswith("failed") else 0
