"""One source: what it is called, what it is by its content, and what a probe says of it, each looked at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from worker.core.errors import BadInput, RefusedPath, SourceMissing, StorageUnavailable
from worker.core.identity import SourceRecord
from worker.core.location import External, parse_location
from worker.media.conditions import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.control.intake.library import Library
    from worker.control.resources import Control
    from worker.core.ports.files import Found
    from worker.media.conditions import Value

LOUDNESS: Final = "audio.loudness"
PROBES_AT_ONCE: Final = 4
AT_ONCE: Final = 8
"""The number of files that are read at the same time: a disk gains by some, and suffers from many."""


@dataclass(slots=True)
class Source:
    """A source, and what is remembered of it; `record` is None for one that nobody can look at from here (the web)."""

    uri: str
    place: External
    record: SourceRecord | None = None

    @property
    def fingerprint(self) -> str | None:
        """Return what it is by its content."""
        return self.record.fingerprint if self.record else None

    @property
    def bytes(self) -> int:
        """Return its size, 0 where that is not known."""
        return self.record.bytes if self.record else 0

    def named_facts(self) -> Mapping[str, Value]:
        """Return the facts that its name says."""
        name = PurePosixPath(self.place.name or self.place.host)
        folder = External(self.place.scheme, self.place.host, self.place.path.rstrip("/").rpartition("/")[0])
        return {
            "source.uri": self.uri,
            "source.folder": str(folder).rstrip("/") if folder.path else _root_of(folder),
            "source.name": name.name,
            "source.stem": name.stem,
            "source.suffix": name.suffix.lower(),
        }

    def remembered(self) -> dict[str, Value]:
        """Return what a probe said of it."""
        facts = (self.record.facts if self.record else None) or {}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
        return {name: value for name, value in values.items() if value is not None}

    async def facts(self, control: Control, *, decoded: bool = False) -> Mapping[str, Value]:
        """Return what a probe says of it, remembered from the last time where the file is the same.

        With `decoded` what only a decoder can measure is among it. BadInput when it is no media.
        """
        if self.record is None:
            raise RefusedPath(f"{self.uri} cannot be looked at from here, and the template asks what it is")
        await probe_all(control, [self], decoded=decoded)
        if self.record.facts is None:
            raise BadInput(self.record.problem or f"{self.uri} is no media")
        return self.remembered()


def _root_of(folder: External) -> str:
    return f"{folder.scheme}://{folder.host}" if folder.scheme != "file" else ""


async def probe_all(
    control: Control, sources: Sequence[Source], *, decoded: bool = False, health: bool = False
) -> None:
    """Probe those that were not probed yet, and with `health` decode those that were not; one statement remembers all.

    What a file that vanishes meanwhile was is not known: it stays without facts.
    """
    limit = asyncio.Semaphore(PROBES_AT_ONCE)

    async def look(source: Source) -> SourceRecord | None:
        async with limit:
            return await _probe(control.library(), source, decoded=decoded, health=health)

    changed = await asyncio.gather(*(look(one) for one in sources))
    await control.stores.remember([one for one in changed if one is not None])


async def _probe(library: Library, source: Source, *, decoded: bool, health: bool) -> SourceRecord | None:
    """Return what is known of a source now, None where nothing new is; the source knows it too."""
    record = source.record
    if record is None:
        return None
    update: dict[str, Any] = {}
    try:
        facts = record.facts
        if facts is None and record.problem is None:
            probed = facts_of(await library.probe(source.place))
            facts = {name: list(value) if isinstance(value, tuple) else value for name, value in probed.items()}
            update["facts"] = facts
        if decoded and facts is not None and LOUDNESS not in facts and facts.get("audio.count"):
            update["facts"] = facts | {LOUDNESS: await library.loudness(source.place)}
        if health and facts is not None and record.health is None:
            update["health"] = await library.health(source.place)
    except BadInput as error:
        update["problem"] = str(error)
    except (SourceMissing, StorageUnavailable, RefusedPath) as error:
        source.record = record.model_copy(update={"problem": str(error)})
        return None
    if not update:
        return None
    source.record = record.model_copy(update=update)
    return source.record


async def look_at(control: Control, uri: str) -> Source:
    """Return a source with its fingerprint; one on the web is only named. SourceMissing, RefusedPath."""
    place = parse_location(uri)
    if isinstance(place, External) and place.is_web:
        return Source(str(place), place)
    place = control.library().place(uri)
    record = await control.library().look(place)
    known = await control.stores.sources([record.uri])
    found = await _identify(control, record, known)
    if found is not known.get(record.uri):
        await control.stores.remember([found])
    return Source(found.uri, place, found)


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be looked at, and why."""

    uri: str
    reason: str


async def identify(control: Control, found: Sequence[Found]) -> list[Source | Unread]:
    """Return the files of a walk as sources; those that are new or changed are read, a little of each.

    Two statements for all of them, the second only where something is new. What a walk met and is gone by now is
    left out. What ails the storage as a whole is raised: MountMissing.
    """
    records = {str(one.place): (one.place, _record(one)) for one in found}
    known = await control.stores.sources(list(records))
    limit = asyncio.Semaphore(AT_ONCE)

    async def look(uri: str, place: External, record: SourceRecord) -> Source | Unread | None:
        async with limit:
            try:
                return Source(uri, place, await _identify(control, record, known))
            except SourceMissing:
                return None
            except (StorageUnavailable, RefusedPath) as error:
                return Unread(uri, str(error))

    looked = await asyncio.gather(*(look(uri, place, record) for uri, (place, record) in records.items()))
    answers = [one for one in looked if one is not None]
    sources = [one for one in answers if isinstance(one, Source)]
    await control.stores.remember([one.record for one in sources if one.record and one.record.seen_at is None])
    return answers


def _record(found: Found) -> SourceRecord:
    return SourceRecord(uri=str(found.place), bytes=found.bytes, modified=found.modified, version=found.version)


async def _identify(control: Control, record: SourceRecord, known: Mapping[str, SourceRecord]) -> SourceRecord:
    """Return what is remembered of a file that is what it was, else what it is now, which nobody remembers yet."""
    before = known.get(record.uri)
    if before is not None and before.is_still(record) and before.fingerprint is not None:
        return before
    library = control.library()
    mark = await library.fingerprint(library.place(record.uri), version=record.version)
    return record.model_copy(update={"fingerprint": mark})
