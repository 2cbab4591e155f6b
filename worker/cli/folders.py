"""Watched folders."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import say_json
from worker.cli.session import read_file
from worker.cli.tables import Column, say_table
from worker.cli.words import say
from worker.core.figures import moment, size
from worker.core.folder import FILE_STATES
from worker.core.message.wire import parse

if TYPE_CHECKING:
    from worker.core.folder import FolderFile, StoredFolder

Name = Annotated[str, typer.Argument(metavar="NAME", help="The folder's name.")]
PLACES: Final = ("nas://", "s3://", "file://", "/")


def show_list(as_json: Json = False) -> None:
    """Print the folders."""

    async def command() -> list[StoredFolder]:
        async with operations() as known:
            return await known.list_folders()

    found = asyncio.run(command())
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    columns = (
        Column("NAME"), Column("PLACE", 12), Column("TEMPLATE"), Column("FILES"), Column("SETTLING"), Column("WAITING"),
        Column("SUBMITTED"), Column("LOOKED"), Column("PROBLEM", 20, folds=True),
    )  # fmt: skip
    say_table(columns, [_row(one) for one in found], "no folders")


def _row(one: StoredFolder) -> tuple[str, ...]:
    counts = one.counts
    submitted = counts.get("submitted", 0) + counts.get("done", 0)
    numbers = (one.files, counts.get("settling", 0), one.waiting, submitted)
    looked = "paused" if one.paused else moment(one.scanned_at)
    place, template = str(one.document["place"]), str(one.document["template"])
    return one.name, place, template, *map(str, numbers), looked, one.problem or ""


def get(name: Name, as_json: Json = False) -> None:
    """Print one folder, in the shape that `put` takes; with --json all that is known of it."""

    async def command() -> StoredFolder:
        async with operations() as known:
            return await known.get_folder(name)

    found = asyncio.run(command())
    say_json(found.model_dump(mode="json") if as_json else found.document)


def files(
    name: Name,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help=f"Only those in this state: {', '.join(FILE_STATES)}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 100,
    as_json: Json = False,
) -> None:
    """Print what was seen in a folder."""
    if state is not None and state not in FILE_STATES:
        raise typer.BadParameter(f"{state!r} is no state; there are {', '.join(FILE_STATES)}")

    async def command() -> list[FolderFile]:
        async with operations() as known:
            return await known.list_files(name, state, limit)

    found = asyncio.run(command())
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    columns = (Column("FILE", 20), Column("SIZE"), Column("STATE"), Column("JOB"), Column("WHY", 20, folds=True))
    rows = [(one.path, size(one.bytes), one.state, one.job_id or "", one.reason or "") for one in found]
    say_table(columns, rows, "nothing was seen")


def put(
    name: Name,
    source: Annotated[
        str, typer.Argument(metavar="PLACE|FILE|-", help="The folder itself, or a JSON object that describes it.")
    ],
    template: Annotated[
        str | None, typer.Option(help="The template for the films; needed with a PLACE.", show_default=False)
    ] = None,
    settle: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long a file must stay unchanged.", show_default=False)
    ] = None,
    afterwards: Annotated[
        str | None,
        typer.Option(help="What to do with a film after its job: leave, move or delete it.", show_default=False),
    ] = None,
    move_to: Annotated[
        str | None, typer.Option(metavar="PLACE", help="The folder that films are moved to.", show_default=False)
    ] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A variable of the template.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store one folder."""
    flags = {"template": template, "settle_seconds": settle, "afterwards": afterwards, "move_to": move_to}
    given: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    if variables:
        given["variables"] = dict(_pair(one) for one in variables)
    if source.startswith(PLACES) and not source.endswith(".json"):
        if template is None:
            raise typer.BadParameter("a PLACE needs --template")
        document: Any = {"place": source} | given
    else:
        document = parse(read_file(source))
        document = document | given if isinstance(document, dict) else document

    async def command() -> StoredFolder:
        async with operations() as known:
            return await known.put_folder(name, document)

    stored = asyncio.run(command())
    if as_json:
        say_json(stored.model_dump(mode="json"))
    else:
        say(f"{name} is stored: {stored.document['place']} is watched while `leveret serve` runs")


def _pair(text: str) -> tuple[str, str]:
    key, middle, value = text.partition("=")
    if not middle or not key:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return key, value


def pause(name: Name, as_json: Json = False) -> None:
    """Take nothing from a folder."""
    _pause(name, paused=True, as_json=as_json)


def resume(name: Name, as_json: Json = False) -> None:
    """Take films from a folder again."""
    _pause(name, paused=False, as_json=as_json)


def _pause(name: str, *, paused: bool, as_json: bool) -> None:
    async def command() -> StoredFolder:
        async with operations() as known:
            return await known.pause_folder(name, paused=paused)

    stored = asyncio.run(command())
    if as_json:
        say_json(stored.model_dump(mode="json"))
    else:
        say(f"{name} is {'paused' if paused else 'looked at again'}")


def delete(name: Name, as_json: Json = False) -> None:
    """Delete one folder."""

    async def command() -> None:
        async with operations() as known:
            await known.delete_folder(name)

    asyncio.run(command())
    if as_json:
        say_json({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted")
