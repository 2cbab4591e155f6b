"""The command `reconcile`: disagreements between the database, the broker and the storages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.operations import operations
from worker.cli.render import say_json
from worker.cli.tables import Column, say_table
from worker.cli.words import say

if TYPE_CHECKING:
    from worker.core.views import Disagreement

_COLUMNS = (Column("WHAT"), Column("JOB"), Column("FACT", 20, folds=True), Column("DONE", 8, folds=True))


def reconcile(
    mend: Annotated[bool, typer.Option("--mend", help="Repair what can be repaired.")] = False,
    seconds: Annotated[
        float, typer.Option("--overdue", min=0, help="How many seconds a job may be overdue before it counts.")
    ] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> int:
    """Return 0 if all agrees, or agrees now."""

    async def command() -> list[Disagreement]:
        async with operations() as known:
            return await known.reconcile(seconds, mend=mend)

    found = asyncio.run(command())
    if as_json:
        say_json([item.model_dump() for item in found])
    else:
        rows = [(item.kind, item.job_id, item.fact, item.done) for item in found]
        say_table(_COLUMNS, rows, "database, broker and storage agree")
        if found and not mend:
            say("`leveret reconcile --mend` repairs what can be repaired")
    return 1 if any(not item.done for item in found) else 0
