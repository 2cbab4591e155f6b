"""Option sets: options that many jobs share, stored in the database under a name."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import say_json
from worker.cli.session import read_file
from worker.cli.tables import Column, say_table
from worker.cli.words import say
from worker.control.option_sets import MAX_NAME
from worker.core.message.wire import parse

if TYPE_CHECKING:
    from worker.core.record import OptionSet

Module = Annotated[str, typer.Argument(metavar="MODULE", help="The module that the options are for.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The option set's name.")]


def show_list(
    module: Annotated[str | None, typer.Argument(metavar="MODULE", help="Only option sets of this module.")] = None,
    as_json: Json = False,
) -> None:
    """Print the option sets."""

    async def command() -> list[OptionSet]:
        async with operations() as known:
            return await known.list_option_sets(module)

    found = asyncio.run(command())
    if as_json:
        say_json([option_set.model_dump() for option_set in found])
        return
    rows = [(item.module, item.name, json.dumps(item.options, ensure_ascii=False)) for item in found]
    say_table((Column("MODULE"), Column("NAME"), Column("OPTIONS", 20, folds=True)), rows, "no option sets")


def get(module: Module, name: Name, as_json: Json = False) -> None:
    """Print one option set, in the shape that `put` takes."""
    del as_json  # it is JSON either way

    async def command() -> OptionSet:
        async with operations() as known:
            return await known.get_option_set(module, name)

    say_json(asyncio.run(command()).model_dump())


def put(
    module: Module,
    name: Name,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE|-", help='Options as a JSON object, or {"name": …, "options": {…}}.'),
    ] = None,
    options: Annotated[str | None, typer.Option(metavar="JSON", help="The options themselves.")] = None,
    as_json: Json = False,
) -> None:
    """Store one option set."""
    if (file is None) == (options is None):
        raise typer.BadParameter("give a FILE, - for standard input, or --options JSON")
    if not 0 < len(name) <= MAX_NAME:
        raise typer.BadParameter(f"a name has 1 to {MAX_NAME} characters")
    document = parse((options or "").encode() if file is None else read_file(file))

    async def command() -> OptionSet:
        async with operations() as known:
            return await known.put_option_set(module, name, document)

    option_set = asyncio.run(command())
    if as_json:
        say_json(option_set.model_dump())
    else:
        say(f"{module} {name} is stored")


def delete(module: Module, name: Name, as_json: Json = False) -> None:
    """Delete one option set."""

    async def command() -> None:
        async with operations() as known:
            await known.delete_option_set(module, name)

    asyncio.run(command())
    if as_json:
        say_json({"module": module, "name": name, "deleted": True})
    else:
        say(f"{module} {name} is deleted")
