"""Templates: listed, shown, stored, deleted, and tried on a source."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import say_json
from worker.cli.session import read_file
from worker.cli.tables import Column, say_table
from worker.cli.words import say, warn
from worker.control.intake.blueprint import Skip
from worker.core.figures import moment
from worker.core.message.wire import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.control.intake.templates import Rendered
    from worker.core.template import StoredTemplate

Name = Annotated[str, typer.Argument(metavar="NAME", help="The template's name.")]
Values = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE] [KEY=VALUE]...",
        help="The source, and values of the template's variables.",
        show_default=False,
    ),
]
_VARIABLE: Final = re.compile(r"([a-z][a-z0-9_]{0,39})=(.*)", re.DOTALL)


def values_in(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the sources and the variables in what was typed: `key=value` is a variable, `source=…` a source."""
    sources: list[str] = []
    variables: dict[str, str] = {}
    for argument in arguments:
        match = _VARIABLE.fullmatch(argument)
        if match is None:
            sources.append(argument)
        elif match[1] == "source":
            sources.append(match[2])
        elif match[1] in variables:
            raise typer.BadParameter(f"{match[1]} is given twice")
        else:
            variables[match[1]] = match[2]
    return sources, variables


def show_list(as_json: Json = False) -> None:
    """Print the templates."""

    async def command() -> list[StoredTemplate]:
        async with operations() as known:
            return await known.list_templates()

    found = asyncio.run(command())
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (
            one.name,
            str(one.version) if one.version else "shipped",
            moment(one.stored_at) if one.version else "",
            str(one.document.get("description", "")),
        )
        for one in found
    ]
    columns = (Column("NAME"), Column("VERSION"), Column("STORED", 0, 1), Column("DESCRIPTION", 20, folds=True))
    say_table(columns, rows, "no templates")


def get(
    name: Name,
    version: Annotated[int | None, typer.Option(help="An earlier version.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Print one template."""
    del as_json  # it is JSON either way

    async def command() -> StoredTemplate:
        async with operations() as known:
            return await known.get_template(name, version)

    say_json(asyncio.run(command()).document)


def put(
    name: Name, file: Annotated[str, typer.Argument(metavar="FILE|-", help="The template.")], as_json: Json = False
) -> None:
    """Store one template."""
    document = parse(read_file(file))

    async def command() -> StoredTemplate:
        async with operations() as known:
            return await known.put_template(name, document)

    stored = asyncio.run(command())
    if as_json:
        say_json(stored.model_dump(mode="json"))
    else:
        say(f"{name} is stored as version {stored.version}")


def delete(name: Name, as_json: Json = False) -> None:
    """Delete one template."""

    async def command() -> None:
        async with operations() as known:
            await known.delete_template(name)

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted")


def try_template(
    name: Name,
    values: Values = None,
    file: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="A template file, instead of the stored template.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Print the job that a template makes; 1 when it makes none."""
    sources, variables = values_in(values or [])
    if len(sources) > 1:
        raise typer.BadParameter("one source is tried at a time")
    document = parse(read_file(file)) if file is not None else None
    source = sources[0] if sources else None

    async def command() -> Rendered | Skip:
        async with operations() as known:
            return await known.try_template(name, source, variables, document)

    found = asyncio.run(command())
    if isinstance(found, Skip):
        if as_json:
            say_json({"template": name, "job": None, "reason": found.reason})
        else:
            warn(f"no job: {found.reason}")
        return 1
    if as_json:
        made = {"template": found.template, "version": found.version, "source": found.source}
        say_json(made | {"variables": found.variables, "job": found.document, "reason": None})
    else:
        say_json(found.document)
    return 0
