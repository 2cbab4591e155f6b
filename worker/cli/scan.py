"""`leveret scan`: a library judged by a template, as a table, as JSON, and as jobs when that is asked for."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.fitted import cut_middle
from worker.cli.render import say_json
from worker.cli.tables import Column, say_table
from worker.cli.templates import values_in
from worker.cli.words import say
from worker.control.intake.scan import BROKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = 50
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def scan(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER|PATTERN [KEY=VALUE]...", help="The place to scan, and the template's variables."
        ),
    ],
    template: Annotated[str, typer.Option("--template", "-t", metavar="NAME", help="The template to check against.")],
    health: Annotated[
        bool, typer.Option("--health", help="Decode every file to its end, once; the next time only what changed.")
    ] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Make a job of each file that does not conform.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --submit: at most this many jobs.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Return 1 when a file is broken."""
    sources, variables = values_in(arguments)
    if len(sources) != 1:
        raise typer.BadParameter("one folder or pattern is scanned at a time")
    if limit is not None and not submit:
        raise typer.BadParameter("--limit belongs to --submit")
    asked = {"template": template, "source": sources[0], "variables": variables, "health": health, "submit": submit}

    async def command() -> dict[str, Any]:
        async with operations() as known:
            return await known.scan(asked | ({"limit": limit} if limit is not None else {}), _progress)

    try:
        found = asyncio.run(command())
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
    if as_json:
        say_json(found)
    else:
        _say(found)
    return 1 if BROKEN in found["verdicts"] else 0


def _progress(numbers: Mapping[str, Any]) -> None:
    if sys.stderr.isatty() and numbers:
        sys.stderr.write(f"\r{numbers['files']} files seen, {numbers['media']} looked at")
        sys.stderr.flush()


def _say(found: Mapping[str, Any]) -> None:
    shown = found["shown"]
    rows = [
        (one["verdict"], size(one["bytes"]), cut_middle(one["source"], 60), "; ".join(one["reasons"]))
        for one in shown[:SHOWN]
    ]
    columns = (Column("VERDICT"), Column("SIZE"), Column("FILE", 20), Column("WHY", 20, folds=True))
    say_table(columns, rows, "everything conforms" if found["media"] else "no film or sound was found")
    if len(shown) > SHOWN:
        say(f"… the first {SHOWN} are shown; --json has {len(shown)}")
    say("")
    say(f"{found['files']} files, {found['media']} of them films and sounds, {size(found['bytes'])}")
    for kind, numbers in found["verdicts"].items():
        say(f"  {kind}: {numbers['files']}, {size(numbers['bytes'])}")
    _say_savings(found)
    if (report := found["submitted"]) is not None:
        say(f"{report['submitted']} submitted, {report['skipped']} skipped, {report['failed']} failed")


def _say_savings(found: Mapping[str, Any]) -> None:
    predicted, saved = found["predicted"], found["saved"]
    if predicted is not None and predicted["bytes"] is not None:
        share = round(predicted["share"] * 100)
        say(f"a run would save about {size(predicted['bytes'])}: {share} %, measured in {predicted['jobs']} jobs")
    else:
        say("what a run would save is not known yet: convert a few files (--submit --limit 5), then scan again")
    if saved["jobs"]:
        less = saved["source_bytes"] - saved["made_bytes"]
        say(f"{saved['jobs']} jobs of this template have saved {size(less)} of {size(saved['source_bytes'])}")


def size(count: int) -> str:
    """Return bytes as people read them: `4.1 GB`."""
    value, sign = float(abs(count)), "-" if count < 0 else ""
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:  # noqa: PLR2004 - the step of the units
            return f"{sign}{value:.0f} {unit}" if unit == "bytes" else f"{sign}{value:.1f} {unit}"
        value /= 1000
    return ""
