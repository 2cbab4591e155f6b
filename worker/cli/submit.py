"""Submitting jobs: a message, or a template and its sources."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from worker.app.operations import operations
from worker.cli.follow import follow, until_ended
from worker.cli.render import job_document, say_json
from worker.cli.session import EXIT_CODES, read_file
from worker.cli.words import say, warn
from worker.core.job import Lane, Priority  # noqa: TC001 - Typer reads them at run time

if TYPE_CHECKING:
    from worker.control.operations import LookOperations
    from worker.core.record import JobRecord


def submit(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|- | SOURCE... [KEY=VALUE]...",
            help="The message, in any accepted shape; with --template the sources or patterns, and its variables.",
            show_default=False,
        ),
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", "-t", metavar="NAME", help="Make a job of each source.")
    ] = None,
    priority: Annotated[Priority | None, typer.Option(help="Overrides the message's own.", show_default=False)] = None,
    lane: Annotated[
        Lane | None,
        typer.Option(help="Overrides the message's own; by default derived from the tasks.", show_default=False),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Wait, and show the progress.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --template: count the sources and submit nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --template: also submit sources that are done already.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --template: submit at most this many jobs.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --template: do not ask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the job's record, after --wait the final one, as JSON.")
    ] = False,
) -> int:
    """Return the exit code."""
    wanted = Following(wait=wait, watch=watch, as_json=as_json)
    if template is not None:
        asked = BatchArguments(template, tuple(arguments or ()), again, limit, lane, priority)
        return asyncio.run(_submit_template(asked, wanted, yes=yes, dry_run=dry_run))
    if len(arguments or []) != 1:
        raise typer.BadParameter("give one FILE, - for standard input, or --template NAME and its sources")
    if dry_run or again or limit is not None:
        raise typer.BadParameter("--dry-run, --again and --limit belong to --template")
    return asyncio.run(_submit_message(read_file((arguments or ["-"])[0]), lane, priority, wanted))


class BatchArguments(NamedTuple):
    """A template, what was typed behind it, and how jobs are made."""

    template: str
    arguments: tuple[str, ...]
    again: bool
    limit: int | None
    lane: str | None
    priority: str | None


@dataclass(frozen=True, slots=True)
class Following:
    """The output of a submitted job: its id, or the job until it ends."""

    wait: bool
    watch: bool
    as_json: bool

    @property
    def until_end(self) -> bool:
        """Return whether the command ends when the job does."""
        return self.wait or self.watch


async def _submit_message(body: bytes, lane: str | None, priority: str | None, wanted: Following) -> int:
    async with operations() as known:
        submitted = await known.submit(body, lane=lane, priority=priority)
        for line in submitted.warnings:
            warn(line)
        if not wanted.as_json:
            say(submitted.record.job_id)
        return await _ended(known, submitted.record, wanted)


async def _submit_template(asked: BatchArguments, wanted: Following, *, yes: bool, dry_run: bool) -> int:
    from worker.cli.intake import batch_of, submit_sources  # noqa: PLC0415 - only with a template
    from worker.control.intake.batches import report_document  # noqa: PLC0415 - as above

    batch = batch_of(*asked)
    silent = wanted.as_json and not wanted.until_end
    async with operations() as known:
        report = await submit_sources(known, batch, yes=yes, dry_run=dry_run, as_json=silent)
        worst = 1 if report.failed else 0
        if not wanted.until_end or dry_run:
            return worst
        alone = wanted if len(report.made) == 1 else replace(wanted, as_json=False)
        for made in report.made:
            worst = max(worst, await _ended(known, await known.find_job(made.job_id), alone))
        if wanted.as_json and alone is not wanted:
            say_json(report_document(batch.template, report))
        return worst


async def _ended(known: LookOperations, record: JobRecord, wanted: Following) -> int:
    """Return the exit code of a job that was submitted, once it has ended if that is waited for."""
    if wanted.watch and not wanted.as_json:
        record = await follow(known, record.job_id)
    elif wanted.until_end:
        record = await until_ended(known, record.job_id)
    if wanted.as_json:
        say_json(job_document(record))
    if record.state == "dead" and (wanted.as_json or not wanted.watch):
        warn(f"{record.job_id} is dead: {record.error_type}: {record.error}")
    return EXIT_CODES[record.state] if wanted.until_end else 0
