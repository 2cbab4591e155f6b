"""What the database, the broker and the storages do not agree on."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.control import control
from worker.cli.render import say_json
from worker.cli.tables import Column, say_table
from worker.cli.words import say
from worker.settings import load

if TYPE_CHECKING:
    from worker.engine.reconcile import Disagreement

_COLUMNS = (Column("WHAT"), Column("JOB"), Column("FACT", 20, folds=True), Column("DONE", 8, folds=True))


def reconcile(
    mend: Annotated[bool, typer.Option("--mend", help="Put right what can be put right.")] = False,
    seconds: Annotated[
        float, typer.Option("--overdue", min=0, help="How many seconds a job may be overdue before it counts.")
    ] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> int:
    """Return 0 if all agrees, or agrees now."""

    async def command() -> list[Disagreement]:
        settings = load()
        # What looks through storages and scratch is imported by nobody else.
        from worker.app.doctor import reconciler  # noqa: PLC0415

        async with control(settings) as everything, everything.broker() as broker:
            return await reconciler(settings, everything.stores, seconds=seconds, mend=mend).run(broker)

    found = asyncio.run(command())
    if as_json:
        say_json([asdict(item) for item in found])
    else:
        rows = [(item.kind, item.job_id, item.fact, item.done) for item in found]
        say_table(_COLUMNS, rows, "database, broker and storage agree")
        if found and not mend:
            say("`leveret reconcile --mend` puts right what can be put right")
    return 1 if any(not item.done for item in found) else 0
