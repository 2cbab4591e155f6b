"""Putting back what a job replaced or deleted."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import say_json
from worker.cli.tables import Column, say_table
from worker.cli.words import say
from worker.core.figures import moment, size

if TYPE_CHECKING:
    from worker.core.ports.originals import Original


def undo(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="The job.", show_default=False)] = None,
    drop: Annotated[bool, typer.Option("--forget", help="Delete the job's kept originals instead.")] = False,
    as_json: Json = False,
) -> None:
    """Put back, list or forget."""
    if job_id is None and drop:
        raise typer.BadParameter("--forget needs the id of a job")

    async def command() -> None:
        async with operations() as known:
            if job_id is None:
                _list(await known.list_originals(), as_json=as_json)
                return
            if drop:
                gone = await known.forget_originals(job_id)
                _say(gone, "deleted for good", as_json=as_json)
                return
            done = await known.undo(job_id)
        _say(done.restored, "put back", as_json=as_json, stays=done.stays)

    asyncio.run(command())


def _list(found: list[Original], *, as_json: bool) -> None:
    if as_json:
        say_json([asdict(original) for original in found])
        return
    columns = (Column("JOB"), Column("KEPT"), Column("SIZE"), Column("FILE", 20, folds=True))
    rows = [(one.job_id, moment(one.kept_at), size(one.bytes), one.uri) for one in found]
    say_table(columns, rows, "nothing is kept")


def _say(originals: tuple[Original, ...], done: str, *, as_json: bool, stays: tuple[str, ...] = ()) -> None:
    if as_json:
        say_json({"originals": [asdict(one) for one in originals], "done": done, "stays": list(stays)})
        return
    for one in originals:
        say(f"{one.uri} is {done}")
    for uri in stays:
        say(f"{uri} is what the job made; it stays")
