"""Many sources at once: found by a pattern, counted, then made into jobs. However many there are, few are held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import Refused
from worker.control.intake.sources import Source, Unread, identify
from worker.control.intake.templates import (
    SUBMIT,
    Made,
    Route,
    Skipped,
    blueprint_of,
    done_before,
    made_id,
    submit_template,
)
from worker.core.errors import BadInput, InvalidJob, RefusedPath, SourceMissing, StorageUnavailable
from worker.core.pattern import Pattern, is_pattern, parse_pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from worker.control.intake.blueprint import Blueprint
    from worker.control.resources import Control
    from worker.core.ports.files import Found

SHOWN: Final = 1000
"""The number of files of each kind that a report names; it counts all."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A source of which no job could be made, and why."""

    source: str
    reason: str


@dataclass(slots=True)
class Count:
    """The files that a pattern means, counted before anything is submitted."""

    files: int = 0
    matching: int = 0
    bytes: int = 0
    done: int = 0
    unreadable: int = 0

    @property
    def fresh(self) -> int:
        """Return how many sources are not done yet: at most so many jobs come of them."""
        return self.matching - self.done - self.unreadable


@dataclass(frozen=True, slots=True)
class Batch:
    """A template, the sources and patterns that jobs are made of, and how."""

    template: str
    sources: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    limit: int | None = None
    lane: str | None = None
    priority: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """The sources of a batch: how many are named one by one, and what each pattern means."""

    named: int
    patterns: tuple[Count, ...] = ()


@dataclass(slots=True)
class Report:
    """The outcome of many sources: the numbers of all of them, and the first of each kind."""

    submitted: int = 0
    skipped: int = 0
    failed: int = 0
    made: list[Made] = field(default_factory=list)
    left: list[Skipped] = field(default_factory=list)
    faults: list[Failed] = field(default_factory=list)

    def add(self, outcome: Made | Skipped | Failed) -> None:
        """Count an outcome."""
        match outcome:
            case Made():
                self.submitted += 1
                _keep(self.made, outcome)
            case Skipped():
                self.skipped += 1
                _keep(self.left, outcome)
            case Failed():
                self.failed += 1
                _keep(self.faults, outcome)


def _keep(items: list[object] | list[Made] | list[Skipped] | list[Failed], item: object) -> None:
    if len(items) < SHOWN:
        items.append(item)  # type: ignore[arg-type]  # each list gets its own kind


async def expand(control: Control, sources: Sequence[str]) -> list[str | Pattern]:
    """Return what is named: single sources as they are, and patterns. A file whose name looks like one is a file."""
    return [parse_pattern(text) if is_pattern(text) and not await _exists(control, text) else text for text in sources]


async def _exists(control: Control, uri: str) -> bool:
    library = control.library()
    try:
        await library.look(library.place(uri))
    except (SourceMissing, RefusedPath, StorageUnavailable):
        return False
    return True


async def count(
    control: Control,
    blueprint: Blueprint,
    pattern: Pattern,
    variables: Mapping[str, str],
    on_progress: Callable[[Count], object] = lambda _: None,
) -> Count:
    """Return how many files a pattern means, and how many are done; Refused when it means none.

    What is done is known by what a file is, so each new one is read, a little: `on_progress` gets the count so far.
    """
    found = Count()
    async for met, batch in _batches(control, pattern):
        found.files += met
        found.matching += len(batch)
        found.bytes += sum(one.bytes for one in batch)
        looked = await identify(control, batch)
        found.unreadable += sum(isinstance(one, Unread) for one in looked)
        sources = [one for one in looked if isinstance(one, Source)]
        found.done += len(await _done(control, blueprint, sources, variables))
        # A file that was removed between the walk and this check is no match any more.
        found.matching -= len(batch) - len(looked)
        on_progress(found)
    if not found.matching:
        raise _no_match(pattern, found.files)
    return found


async def count_batch(
    control: Control, batch: Batch, on_progress: Callable[[Count], object] = lambda _: None
) -> Counted:
    """Return how many sources a batch has; NotFound for its template, Refused where a pattern means none."""
    blueprint = await blueprint_of(control, batch.template)
    sources = await expand(control, batch.sources)
    patterns = [one for one in sources if isinstance(one, Pattern)]
    counts = [await count(control, blueprint, one, batch.variables, on_progress) for one in patterns]
    return Counted(len(sources) - len(patterns), tuple(counts))


async def submit_batch(control: Control, batch: Batch) -> AsyncIterator[Made | Skipped | Failed]:
    """Yield what becomes of each source; without sources, of the template alone."""
    blueprint = await blueprint_of(control, batch.template)
    if not batch.sources:
        route = Route(batch.lane, batch.priority)
        yield await submit_template(control, blueprint, None, batch.variables, again=batch.again, route=route)
        return
    outcomes = submit_all(
        control, blueprint, await expand(control, batch.sources), batch.variables, again=batch.again,
        limit=batch.limit, lane=batch.lane, priority=batch.priority,
    )  # fmt: skip
    async for outcome in outcomes:
        yield outcome


def _no_match(pattern: Pattern, files: int) -> Refused:
    below = f"there are {files} files below it" if files > 1 else f"there is {files or 'no'} file below it"
    return Refused(f"nothing matches {pattern.text}: {pattern.folder} is there, and {below}")


async def _batches(control: Control, pattern: Pattern) -> AsyncIterator[tuple[int, list[Found]]]:
    """Yield how many files a step of the walk met, and those of them that are meant."""
    library = control.library()
    folder = library.place(pattern.folder)
    async for step in library.walk(folder):
        yield len(step), [one for one in step if pattern.matches(str(one.place).removeprefix(str(folder)))]


async def _done(
    control: Control, blueprint: Blueprint, sources: Sequence[Source], variables: Mapping[str, str]
) -> dict[str, Skipped]:
    """Return by URI the sources that were made into a job before; one statement for all of them."""
    marks = {one.fingerprint for one in sources if one.fingerprint}
    known = await control.stores.origins(blueprint.name, marks)
    found: dict[str, Skipped] = {}
    for one in sources:
        own = [state for state in known if state.origin.fingerprint == one.fingerprint]
        job_id = made_id(blueprint.name, one.fingerprint or "", variables)
        if (done := done_before(own, job_id, one.uri)) is not None:
            found[one.uri] = done
    return found


async def submit_all(
    control: Control,
    template: str | Blueprint,
    sources: Sequence[str | Pattern],
    variables: Mapping[str, str],
    *,
    asked_by: str = SUBMIT,
    again: bool = False,
    limit: int | None = None,
    lane: str | None = None,
    priority: str | None = None,
) -> AsyncIterator[Made | Skipped | Failed]:
    """Yield what becomes of each source; at most `limit` jobs are submitted, what is skipped does not count.

    A source that is no media, or of which the template makes no job, is a failure of its own. What fails for all (the
    broker, the database, a mount that is away) is raised: what was submitted by then stays, and is skipped next time.
    """
    blueprint = await blueprint_of(control, template) if isinstance(template, str) else template
    left = limit
    async with control.broker() as broker:
        route = Route(lane, priority, broker)
        async for source in _sources(control, blueprint, sources, variables, again=again):
            if left is not None and left <= 0:
                return
            outcome = (
                await _make_job(control, blueprint, source, variables, asked_by, again=again, route=route)
                if isinstance(source, str | Source)
                else source
            )
            yield outcome
            if isinstance(outcome, Made) and left is not None:
                left -= 1


async def _sources(
    control: Control,
    blueprint: Blueprint,
    named: Sequence[str | Pattern],
    variables: Mapping[str, str],
    *,
    again: bool,
) -> AsyncIterator[str | Source | Skipped | Failed]:
    for one in named:
        if isinstance(one, str):
            yield one
            continue
        met = matched = 0
        async for step, batch in _batches(control, one):
            met, matched = met + step, matched + len(batch)
            looked = await identify(control, batch)
            sources = [source for source in looked if isinstance(source, Source)]
            done = {} if again else await _done(control, blueprint, sources, variables)
            for source in looked:
                if isinstance(source, Unread):
                    yield Failed(source.uri, source.reason)
                else:
                    yield _health_failure(source, again=again) or done.get(source.uri) or source
        if not matched:
            raise _no_match(one, met)


def _health_failure(source: Source, *, again: bool) -> Failed | None:
    """Return why a file is not worth a job: a health check found it broken."""
    health = source.record.health if source.record else None
    return Failed(source.uri, f"it is broken: {health}") if health and not again else None


async def _make_job(
    control: Control,
    blueprint: Blueprint,
    source: str | Source,
    variables: Mapping[str, str],
    asked_by: str,
    *,
    again: bool,
    route: Route,
) -> Made | Skipped | Failed:
    try:
        return await submit_template(control, blueprint, source, variables, asked_by=asked_by, again=again, route=route)
    except (BadInput, InvalidJob, RefusedPath, SourceMissing, StorageUnavailable) as error:
        return Failed(source.uri if isinstance(source, Source) else source, str(error))


def report_document(template: str, report: Report) -> dict[str, Any]:
    """Return a report as JSON; of very many sources it names the first of each kind."""
    return {
        "template": template,
        "submitted": report.submitted,
        "skipped": report.skipped,
        "failed": report.failed,
        "jobs": [{"job_id": one.job_id, "source": one.source} for one in report.made],
        "left": [{"source": one.source, "reason": one.reason, "job_id": one.job_id} for one in report.left],
        "faults": [{"source": one.source, "reason": one.reason} for one in report.faults],
    }
