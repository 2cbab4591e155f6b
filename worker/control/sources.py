"""One source: what it is called, what it is by its content, and what a probe says of it, each looked at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worker.core.errors import BadInput, RefusedPath
from worker.core.location import External, parse_location
from worker.media.conditions import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.control.resources import Control
    from worker.core.identity import SourceRecord
    from worker.media.conditions import Value


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
    (found,) = await identified(control, [record])
    return Source(found.uri, place, found)


async def identified(control: Control, records: Sequence[SourceRecord]) -> list[SourceRecord]:
    """Return sources with what is remembered of them; those that are new or changed are read, a little of each.

    Two statements for all of them; the second only where something is new. One that is gone or changes meanwhile is
    left out.
    """
    known = await control.stores.sources([one.uri for one in records])
    found: list[SourceRecord] = []
    fresh: list[SourceRecord] = []
    library = control.library()
    for record in records:
        before = known.get(record.uri)
        if before is not None and before.is_still(record) and before.fingerprint is not None:
            found.append(before)
            continue
        mark = await library.fingerprint(library.place(record.uri), version=record.version)
        fresh.append(record.model_copy(update={"fingerprint": mark}))
        found.append(fresh[-1])
    await control.stores.remember(fresh)
    return found
