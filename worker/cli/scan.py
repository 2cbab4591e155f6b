"""`leveret scan`: a library judged by a template, as a table, as JSON, and as jobs when that is asked for."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from worker.app.control import control
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.fitted import cut_middle
from worker.cli.render import say_json
from worker.cli.tables import Column, say_table
from worker.cli.templates import values_in
from worker.cli.words import say
from worker.control.batches import Report, submit_all
from worker.control.scan import BROKEN, Saved, Scan, pattern_of, saved, scan_document
from worker.control.scan import scan as scan_folder
from worker.control.templates import blueprint_of
from worker.settings import load

SHOWN = 50
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def scan(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER|PATTERN [KEY=VALUE]...", help="What is looked at, and the template's variables."
        ),
    ],
    template: Annotated[str, typer.Option("--template", "-t", metavar="NAME", help="Whose promise is asked for.")],
    health: Annotated[
        bool, typer.Option("--health", help="Decode every file to its end, once; the next time only what changed.")
    ] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Make a job of each file that does not conform.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --submit: at most so many jobs.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Return 1 when a file is broken."""
    sources, variables = values_in(arguments)
    if len(sources) != 1:
        raise typer.BadParameter("one folder or pattern is scanned at a time")

    async def command() -> tuple[Scan, Saved, Report | None]:
        async with control(load()) as everything:
            blueprint = await blueprint_of(everything, template)
            pattern = pattern_of(sources[0])
            found = await scan_folder(everything, blueprint, pattern, variables, health=health, on_progress=_progress)
            report = Report() if submit else None
            if report is not None and found.media:
                async for outcome in submit_all(everything, blueprint, [pattern], variables, limit=limit):
                    report.add(outcome)
            return found, await saved(everything, template), report

    try:
        found, done, report = asyncio.run(command())
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
    if as_json:
        say_json(scan_document(template, found, done, report))
    else:
        _say(found, done, report)
    return 1 if found.kinds.get(BROKEN) else 0


def _progress(found: Scan) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{found.files} files seen, {found.media} looked at")
        sys.stderr.flush()


def _say(found: Scan, done: Saved, report: Report | None) -> None:
    rows = [(one.kind, size(one.bytes), cut_middle(one.uri, 60), "; ".join(one.reasons)) for one in found.shown[:SHOWN]]
    columns = (Column("VERDICT"), Column("SIZE"), Column("FILE", 20), Column("WHY", 20, folds=True))
    say_table(columns, rows, "everything conforms" if found.media else "no film and no sound is there")
    if len(found.shown) > SHOWN:
        say(f"… the first {SHOWN} are shown; --json has {len(found.shown)}")
    say("")
    say(f"{found.files} files, {found.media} of them films and sounds, {size(found.bytes)}")
    for kind, number in sorted(found.kinds.items()):
        say(f"  {number} {kind}, {size(found.sizes[kind])}")
    if found.saving is not None and found.saved_bytes is not None:
        share = round(found.saving.share * 100)
        say(f"a run would save about {size(found.saved_bytes)}: {share} %, measured in {found.saving.known_from} jobs")
    else:
        say("what a run would save is not known yet: let some files be made (--submit --limit 5), then scan again")
    if done.jobs:
        say(f"{done.jobs} jobs of this template have saved {size(done.bytes)} of {size(done.source_bytes)}")
    if report is not None:
        say(f"{report.submitted} submitted, {report.skipped} skipped, {report.failed} failed")


def size(count: int) -> str:
    """Return bytes as people read them: `4.1 GB`."""
    value, sign = float(abs(count)), "-" if count < 0 else ""
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:  # noqa: PLR2004 - the step of the units
            return f"{sign}{value:.0f} {unit}" if unit == "bytes" else f"{sign}{value:.1f} {unit}"
        value /= 1000
    return ""
