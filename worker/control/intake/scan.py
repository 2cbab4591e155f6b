"""A folder, judged by a template while nothing is done: what does not conform, what is broken, what would be saved.

A file is probed once and remembered by its path, size and time; so a second scan asks the database alone. What a scan
keeps in memory is a batch of files, the numbers, and the first files of each kind.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from worker.control.intake.batches import Report, report_document
from worker.control.intake.blueprint import clock_of
from worker.control.intake.sources import Source, Unread, identify, probe_all
from worker.core.errors import InvalidJob
from worker.core.media_types import media_type_of
from worker.core.pattern import is_pattern, parse_pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from worker.control.intake.blueprint import Blueprint
    from worker.control.resources import Control
    from worker.core.pattern import Pattern
    from worker.core.ports.files import Found

SHOWN: Final = 1000
MEASURED_JOBS: Final = 100
"""The number of a template's newest completed jobs from which the savings of the next ones are predicted."""
ENOUGH_JOBS: Final = 3
CONFORMS, LEFT, FAILS, BROKEN, UNREAD = "conforms", "not meant", "does not conform", "broken", "unread"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a scan on a file: `kind`, and why in words that name the template's own conditions."""

    source: Source | Unread
    kind: str
    reasons: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """Return the file."""
        return self.source.uri

    @property
    def bytes(self) -> int:
        """Return its size."""
        return self.source.bytes if isinstance(self.source, Source) else 0


@dataclass(frozen=True, slots=True)
class Saving:
    """The predicted saving of a run: the share of the bytes, and from how many jobs or samples it is known."""

    share: float
    known_from: int
    measured: bool

    def of(self, size: int) -> int:
        """Return the bytes that would be saved of so many."""
        return round(size * self.share)


@dataclass(slots=True)
class Scan:
    """The numbers of a scan, and the first files that need something."""

    files: int = 0
    media: int = 0
    bytes: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    shown: list[Verdict] = field(default_factory=list)
    saving: Saving | None = None

    def add(self, verdict: Verdict) -> None:
        """Count a verdict; what is well is counted only."""
        self.media += 1
        self.bytes += verdict.bytes
        self.kinds[verdict.kind] = self.kinds.get(verdict.kind, 0) + 1
        self.sizes[verdict.kind] = self.sizes.get(verdict.kind, 0) + verdict.bytes
        if verdict.kind not in {CONFORMS, LEFT} and len(self.shown) < SHOWN:
            self.shown.append(verdict)

    @property
    def saved_bytes(self) -> int | None:
        """Return how many bytes a run would save of what does not conform; None where nothing is known of that."""
        return self.saving.of(self.sizes.get(FAILS, 0)) if self.saving else None


def pattern_of(folder: str) -> Pattern:
    """Return what a scan looks at: a pattern as it is, and everything below a folder."""
    if is_pattern(folder):
        return parse_pattern(folder)
    bare = folder.rstrip("/")
    # `nas://` is the root itself
    return parse_pattern(f"{folder}**" if bare.endswith(":") else f"{bare}/**")


async def scan(
    control: Control,
    blueprint: Blueprint,
    pattern: Pattern,
    variables: Mapping[str, str],
    *,
    health: bool = False,
    on_progress: Callable[[Scan], object] = lambda _: None,
    on_verdict: Callable[[Verdict], object] = lambda _: None,
) -> Scan:
    """Return what a scan found; with `health` each file that was not read whole yet is decoded to its end.

    Files that are no video, sound or container by their name are counted and not looked at. A mount that goes away
    meanwhile is an error: nothing is concluded from what was seen until then, but what was probed stays known.
    """
    found = Scan()
    library = control.library()
    folder = library.place(pattern.folder)
    async for step in library.walk(folder):
        found.files += len(step)
        meant = [one for one in step if pattern.matches(str(one.place).removeprefix(str(folder))) and is_media(one)]
        async for verdict in _verdicts(control, blueprint, meant, variables, health=health):
            found.add(verdict)
            on_verdict(verdict)
        on_progress(found)
    found.saving = await measured_saving(control, blueprint.name)
    return found


def is_media(found: Found) -> bool:
    """Return whether a file's name says that it is a film or a sound."""
    return media_type_of(found.place.name).startswith(("video/", "audio/"))


async def _verdicts(
    control: Control, blueprint: Blueprint, found: list[Found], variables: Mapping[str, str], *, health: bool
) -> AsyncIterator[Verdict]:
    looked = await identify(control, found)
    sources = [one for one in looked if isinstance(one, Source)]
    await probe_all(control, sources, decoded=blueprint.needs_decode, health=health)
    clock = clock_of(datetime.now().astimezone())
    for one in looked:
        yield (
            Verdict(one, UNREAD, (one.reason,))
            if isinstance(one, Unread)
            else judge_source(blueprint, one, variables, clock, health=health)
        )


def judge_source(
    blueprint: Blueprint, source: Source, variables: Mapping[str, str], clock: Mapping[str, str], *, health: bool
) -> Verdict:
    """Return the verdict on a source that was probed; `clock` says which day it is."""
    record = source.record
    if record is None or record.facts is None:
        return Verdict(source, BROKEN, (record.problem or "it is no media" if record else "it was not examined",))
    if health and record.health:
        return Verdict(source, BROKEN, (record.health,))
    facts = {**source.named_facts(), **source.remembered()}
    try:
        values = blueprint.variables(variables, facts, clock)
    except InvalidJob:
        # A scan needs no values for variables that only a job requires.
        values = {}
    if not blueprint.is_meant(facts, values):
        return Verdict(source, LEFT, (blueprint.document.when or "",))
    broken = blueprint.broken_promises(facts, values)
    if blueprint.document.promise and not broken:
        return Verdict(source, CONFORMS)
    return Verdict(source, FAILS, broken or ("the template promises nothing that could hold already",))


async def measured_saving(control: Control, template: str) -> Saving | None:
    """Return what the template's newest completed jobs saved: the middle of their shares; None for too few."""
    done = await control.stores.savings(template, MEASURED_JOBS)
    shares = [1 - one.bytes / one.origin.source_bytes for one in done if one.origin.source_bytes and one.bytes]
    if len(shares) < ENOUGH_JOBS:
        return None
    return Saving(statistics.median(shares), len(shares), measured=True)


@dataclass(frozen=True, slots=True)
class Saved:
    """The real savings of a template's completed jobs."""

    jobs: int
    source_bytes: int
    made_bytes: int

    @property
    def bytes(self) -> int:
        """Return the bytes that were saved; below zero where the files grew."""
        return self.source_bytes - self.made_bytes


async def saving_so_far(control: Control, template: str, limit: int = 10_000) -> Saved:
    """Return what the newest completed jobs of a template saved, by the bytes of their sources and artifacts."""
    done = [one for one in await control.stores.savings(template, limit) if one.origin.source_bytes]
    return Saved(len(done), sum(one.origin.source_bytes for one in done), sum(one.bytes for one in done))


def scan_numbers(found: Scan) -> dict[str, Any]:
    """Return the numbers of a scan as JSON."""
    return {
        "files": found.files,
        "media": found.media,
        "bytes": found.bytes,
        "verdicts": {kind: {"files": found.kinds[kind], "bytes": found.sizes[kind]} for kind in sorted(found.kinds)},
    }


def scan_document(template: str, found: Scan, done: Saved, report: Report | None) -> dict[str, Any]:
    """Return a scan as JSON: its numbers, the first files that need something, and what a run would save."""
    saving = None
    if found.saving is not None:
        saving = {"share": found.saving.share, "bytes": found.saved_bytes, "jobs": found.saving.known_from}
    return {
        "template": template,
        **scan_numbers(found),
        "shown": [
            {"source": one.uri, "verdict": one.kind, "bytes": one.bytes, "reasons": list(one.reasons)}
            for one in found.shown
        ],
        "predicted": saving,
        "saved": {"jobs": done.jobs, "source_bytes": done.source_bytes, "made_bytes": done.made_bytes},
        "submitted": report_document(template, report) if report is not None else None,
    }
