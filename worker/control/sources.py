"""One source: what it is called, what it is by its content, and what a probe says of it, each looked at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from worker.core.errors import BadInput, RefusedPath, SourceMissing, StorageUnavailable
from worker.core.identity import SourceRecord
from worker.core.location import External, parse_location
from worker.media.conditions import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.control.resources import Control
    from worker.core.ports.files import Found
    from worker.media.conditions import Value

AT_ONCE: Final = 8
"""How many files are read at the same time: a disk gains by some, and suffers from many."""


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

    async def facts(self, control: Control, *, decoded: bool = False) -> Mapping[str, Value]:
        """Return what a probe says of it, remembered from the last time where the file is the same.

        BadInput when it is no media.
        """
        del decoded
        record = self.record
        if record is None:
            raise RefusedPath(f"{self.uri} cannot be looked at from here, and the template asks what it is")
        if record.facts is None and record.problem is None:
            self.record = record = await _probed(control, self.place, record)
            await control.stores.remember([record])
        if record.facts is None:
            raise BadInput(record.problem or f"{self.uri} is no media")
        return {name: tuple(value) if isinstance(value, list) else value for name, value in record.facts.items()}


def _root_of(folder: External) -> str:
    return f"{folder.scheme}://{folder.host}" if folder.scheme != "file" else ""


async def _probed(control: Control, place: External, record: SourceRecord) -> SourceRecord:
    try:
        facts = facts_of(await control.library().probe(place))
    except BadInput as error:
        return record.model_copy(update={"problem": str(error)})
    as_json = {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
    return record.model_copy(update={"facts": as_json})


async def look_at(control: Control, uri: str) -> Source:
    """Return a source with its fingerprint; one on the web is only named. SourceMissing, RefusedPath."""
    place = parse_location(uri)
    if isinstance(place, External) and place.is_web:
        return Source(str(place), place)
    place = control.library().place(uri)
    record = await control.library().look(place)
    known = await control.stores.sources([record.uri])
    found = await _identified(control, record, known)
    if found is not known.get(record.uri):
        await control.stores.remember([found])
    return Source(found.uri, place, found)


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be looked at, and why."""

    uri: str
    reason: str


async def identified(control: Control, found: Sequence[Found]) -> list[Source | Unread]:
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
                return Source(uri, place, await _identified(control, record, known))
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


async def _identified(control: Control, record: SourceRecord, known: Mapping[str, SourceRecord]) -> SourceRecord:
    """Return what is remembered of a file that is what it was, else what it is now, which nobody remembers yet."""
    before = known.get(record.uri)
    if before is not None and before.is_still(record) and before.fingerprint is not None:
        return before
    library = control.library()
    mark = await library.fingerprint(library.place(record.uri), version=record.version)
    return record.model_copy(update={"fingerprint": mark})
