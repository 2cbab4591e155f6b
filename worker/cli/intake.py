"""`leveret submit --template`: a job of each source, counted before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from worker.cli.render import say_json
from worker.cli.templates import values_in
from worker.cli.words import say, warn
from worker.control.intake.batches import Batch, Count, Counted, Failed, Report, report_document
from worker.control.intake.templates import Made, Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.control.intake.operations import SourceOperations


def batch_of(
    template: str, arguments: Sequence[str], again: bool, limit: int | None, lane: str | None, priority: str | None
) -> Batch:
    """Return the batch that was typed."""
    sources, variables = values_in(arguments)
    return Batch(template, tuple(sources), variables, again, limit, lane, priority)


async def submit_sources(known: SourceOperations, batch: Batch, *, yes: bool, dry_run: bool, as_json: bool) -> Report:
    """Return what became of the sources; with `dry_run` nothing is submitted, and only the count is printed."""
    counted, report = await _counted(known, batch), Report()
    patterns = counted.patterns
    if patterns or dry_run:
        # With --again what is done counts too.
        jobs = sum(one.matching if batch.again else one.fresh for one in patterns) + counted.named
        if not as_json:
            say(_count_line(patterns, jobs, batch.limit))
        if dry_run:
            if as_json:
                say_json({"template": batch.template, "counted": [_numbers(one) for one in patterns], "at_most": jobs})
            return report
        if jobs and not yes and sys.stdin.isatty() and sys.stdout.isatty():
            typer.confirm("Submit them?", abort=True)
    async for outcome in known.submit_sources(batch):
        report.add(outcome)
        _say(outcome, as_json=as_json, alone=not patterns)
    if as_json:
        say_json(report_document(batch.template, report))
    elif patterns or len(batch.sources) > 1:
        say(f"{report.submitted} submitted, {report.skipped} skipped, {report.failed} failed")
    return report


async def _counted(known: SourceOperations, batch: Batch) -> Counted:
    shows = sys.stderr.isatty()

    def show(found: Count) -> None:
        if shows:
            sys.stderr.write(f"\r{found.files} files read, {found.matching} match")
            sys.stderr.flush()

    try:
        return await known.count_sources(batch, show)
    finally:
        if shows:
            sys.stderr.write("\r\x1b[K")


def _count_line(counts: Sequence[Count], jobs: int, limit: int | None) -> str:
    matching, done = sum(one.matching for one in counts), sum(one.done for one in counts)
    files, bad = sum(one.files for one in counts), sum(one.unreadable for one in counts)
    line = f"{matching} of {files} files match" if counts else f"{jobs} sources are named"
    line += f", {done} are done" if done else ""
    line += f", {bad} cannot be read" if bad else ""
    most = jobs if limit is None else min(jobs, limit)
    return f"{line}: at most {most} job{'' if most == 1 else 's'} to submit"


def _numbers(found: Count) -> dict[str, int]:
    names = ("files", "matching", "bytes", "done", "unreadable", "fresh")
    return {name: getattr(found, name) for name in names}


def _say(outcome: Made | Skipped | Failed, *, as_json: bool, alone: bool = True) -> None:
    match outcome:
        case Made() if not as_json:
            say(outcome.job_id if alone else f"{outcome.job_id}  {outcome.source}")
        case Skipped() if not as_json and alone:
            warn(f"{outcome.source or 'nothing'} is skipped: {outcome.reason}")
        case Failed():
            warn(f"{outcome.source}: {outcome.reason}")
        case _:
            pass
    if isinstance(outcome, Made) and alone:
        for line in outcome.warnings:
            warn(line)
