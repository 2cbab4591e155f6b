"""`leveret submit --template`: a job of each source, counted before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from worker.cli.render import say_json
from worker.cli.words import say, warn
from worker.control.batches import Count, Failed, Report, count, expand, report_document, submit_all
from worker.control.templates import Made, Skipped, blueprint_of
from worker.core.pattern import Pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.control import Control
    from worker.control.blueprint import Blueprint


async def submit_sources(
    control: Control,
    template: str,
    sources: Sequence[str],
    variables: dict[str, str],
    *,
    again: bool,
    yes: bool,
    dry_run: bool,
    limit: int | None,
    lane: str | None,
    priority: str | None,
    as_json: bool,
) -> Report:
    """Return what became of the sources; with `dry_run` nothing is submitted, and only the count is printed."""
    blueprint = await blueprint_of(control, template)
    named = await expand(control, sources) if sources else []
    counts = [await _count(control, blueprint, one, variables) for one in named if isinstance(one, Pattern)]
    report = Report()
    if counts or dry_run:
        # With --again what is done counts too.
        jobs = sum(one.matching if again else one.fresh for one in counts) + sum(isinstance(one, str) for one in named)
        line = _count_line(counts, jobs, limit)
        if not as_json:
            say(line)
        if dry_run:
            if as_json:
                say_json({"template": template, "counted": [_counted(one) for one in counts], "at_most": jobs})
            return report
        if jobs and not yes and sys.stdin.isatty() and sys.stdout.isatty():
            typer.confirm("Submit them?", abort=True)
    if not sources:
        # A template that asks nothing of a source.
        from worker.control.templates import Route, submit_template  # noqa: PLC0415 - seldom

        report.add(await submit_template(control, blueprint, None, variables, again=again, route=Route(lane, priority)))
        _say(report.made[-1] if report.made else report.left[-1], as_json=as_json)
    else:
        outcomes = submit_all(
            control, blueprint, named, variables, again=again, limit=limit, lane=lane, priority=priority
        )
        async for outcome in outcomes:
            report.add(outcome)
            _say(outcome, as_json=as_json, alone=not counts)
    if as_json:
        say_json(report_document(template, report))
    elif counts or len(sources) > 1:
        say(f"{report.submitted} submitted, {report.skipped} skipped, {report.failed} failed")
    return report


async def _count(control: Control, blueprint: Blueprint, pattern: Pattern, variables: dict[str, str]) -> Count:
    shows = sys.stderr.isatty()

    def show(found: Count) -> None:
        if shows:
            sys.stderr.write(f"\r{found.files} files looked at, {found.matching} match")
            sys.stderr.flush()

    try:
        return await count(control, blueprint, pattern, variables, show)
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


def _counted(found: Count) -> dict[str, int]:
    names = ("files", "matching", "bytes", "done", "unreadable", "fresh")
    return {name: getattr(found, name) for name in names}


def _say(outcome: Made | Skipped | Failed, *, as_json: bool, alone: bool = True) -> None:
    match outcome:
        case Made() if not as_json:
            say(outcome.record.job_id if alone else f"{outcome.record.job_id}  {outcome.source}")
        case Skipped() if not as_json and alone:
            warn(f"{outcome.source or 'nothing'} is skipped: {outcome.reason}")
        case Failed():
            warn(f"{outcome.source}: {outcome.reason}")
        case _:
            pass
    if isinstance(outcome, Made) and alone:
        for line in outcome.warnings:
            warn(line)
