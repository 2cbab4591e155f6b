"""Option sets: options that many jobs share, stored in the database under a name."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker import app
from worker.cli.render import say_json
from worker.cli.session import CommandRefused, database, read_file
from worker.cli.tables import Column, say_table
from worker.cli.words import say
from worker.core.errors import InvalidJob, Problem
from worker.core.job import TaskSpec
from worker.core.message.wire import nearest, parse
from worker.core.record import OptionSet
from worker.media.ffmpeg.options import Encoder, output_problems
from worker.settings import load

if TYPE_CHECKING:
    from worker.registry import Registry

Module = Annotated[str, typer.Argument(metavar="MODULE", help="The module that the options are for.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The option set's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
MAX_NAME = 200
FFMPEG = "ffmpeg"

EXAMPLES = """\b
Examples:
  leveret option-sets put ffmpeg opus-128k --options '{"codec": "libopus", "b": "128k"}'
  leveret option-sets put ffmpeg x265-slow x265-slow.json"""


def add_to(cli: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Options that jobs name instead of repeating them.", rich_markup_mode=None)
    group.command("list", help="List the option sets.")(show_list)
    group.command("get", help="Print one option set as JSON.")(get)
    group.command("put", help="Store or replace an option set.", epilog=EXAMPLES)(put)
    group.command("delete", help="Delete an option set.")(delete)
    cli.add_typer(group, name="option-sets")


def show_list(
    module: Annotated[str | None, typer.Argument(metavar="MODULE", help="Only those of this module.")] = None,
    as_json: Json = False,
) -> None:
    """Print the option sets."""

    async def command() -> list[OptionSet]:
        async with database(load()) as repository:
            return await repository.option_sets(module)

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
        async with database(load()) as repository:
            found = await repository.option_set(module, name)
            if found is not None:
                return found
            known = [option_set.name for option_set in await repository.option_sets(module)]
        raise CommandRefused(f"{module} has no option set {name!r}{nearest(name, known)}")

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
    value = options_in(parse((options or "").encode() if file is None else read_file(file)), module, name)
    check_options(app.registry(), module, value)
    option_set = OptionSet(module=module, name=name, options=value)

    async def command() -> None:
        async with database(load()) as repository:
            await repository.put_option_set(option_set)

    asyncio.run(command())
    if as_json:
        say_json(option_set.model_dump())
    else:
        say(f"{module} {name} is stored")


def options_in(value: Any, module: str, name: str) -> dict[str, Any]:
    """Return the options in a document; those of a document that names itself otherwise are refused."""
    if not isinstance(value, dict):
        raise InvalidJob([Problem("", "options are a JSON object")])
    if not isinstance(value.get("options"), dict) or not value.keys() <= {"name", "module", "options"}:
        return value
    for key, told in (("name", name), ("module", module)):
        if value.get(key, told) != told:
            raise InvalidJob([Problem(key, f"the document says {value[key]!r}, the command {told!r}")])
    return dict(value["options"])


def check_options(registry: Registry, module: str, options: dict[str, Any]) -> None:
    """Return if the module is known and, for ffmpeg, its model takes the options and none names a file.

    Which options an encoder has, only the ffmpeg that will run knows: the worker asks it.
    """
    if module not in registry.tasks:
        raise CommandRefused(f"unknown module {module!r}{nearest(module, registry.tasks)}")
    if module != FFMPEG:
        return
    probe = {
        "sources": ["input.mkv"],
        "source_maps": [{"source": 0}],
        "output_maps": [{"stream": 0, "options": options}],
        "output_file": "output.mkv",
    }
    try:
        registry.parse(TaskSpec(module, probe, ""))
    except InvalidJob as error:
        raise InvalidJob(Problem(_own_path(item.path), item.message) for item in error.problems) from error
    any_encoder = Encoder("", "", "", frozenset(options))
    if problems := tuple(output_problems(options, None, any_encoder, "options")):
        raise InvalidJob(problems)


def _own_path(path: str) -> str:
    return path.removeprefix(".").removeprefix("output_maps[0].")


def delete(module: Module, name: Name, as_json: Json = False) -> None:
    """Delete one option set."""

    async def command() -> bool:
        async with database(load()) as repository:
            return await repository.delete_option_set(module, name)

    if not asyncio.run(command()):
        raise CommandRefused(f"{module} has no option set {name!r}")
    if as_json:
        say_json({"module": module, "name": name, "deleted": True})
    else:
        say(f"{module} {name} is deleted")
