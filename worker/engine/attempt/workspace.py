"""The transaction of one attempt: what it reads, what it has staged, what it will delete.

Nothing outside the attempt's scratch folder changes before the publish, and nothing is deleted before the
record.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.errors import InvalidJob, Problem, SourceMissing, StorageUnavailable
from worker.core.local_names import plain_name
from worker.core.location import External, Relative, parse_location
from worker.core.media_types import media_type_of
from worker.core.task import Excerpt
from worker.engine.attempt.excerpts import Excerpts
from worker.engine.attempt.files import Staged, measured, plainly_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from worker.core.attempt import Artifact
    from worker.core.location import Location
    from worker.core.spans import Span
    from worker.engine.attempt.sources import SharedSources
    from worker.engine.storages import Storages

MAX_OUTPUTS: Final = 100_000
LOCAL: Final = frozenset({"file", "nas"})
"""Schemes whose files are read in place."""

log = structlog.get_logger(__name__)


class Workspace:
    """The files of one attempt."""

    def __init__(
        self,
        folder: Path,
        destination: External,
        storages: Storages,
        most_outputs: int = MAX_OUTPUTS,
        guarded: frozenset[External] = frozenset(),
        *,
        sources: SharedSources | None = None,
        is_part: bool = False,
        make: Callable[[], object] = lambda: None,
    ) -> None:
        """Work in `folder`; relative outputs go under `destination`, a folder. More than `most_outputs` are refused.

        `make` is called before anything is put into `folder`, and before a tool runs, which has its path as a mark.
        Outputs at the places in `guarded` replace nothing. Remote files that the host has already are taken from
        `sources`; those of a part are kept there for the others.
        """
        self._sources = sources
        self._is_part = is_part
        self._folder, self._make = folder, make
        self._destination = destination
        self._storages = storages
        self._most = most_outputs
        self._guarded = guarded
        self._staged: dict[External, Staged] = {}
        self._fetched: dict[External, Path] = {}
        self._asked: dict[Path, str] = {}
        self._deletions: dict[External, None] = {}
        self._numbers = count()

    @property
    def folder(self) -> Path:
        """Return the attempt's folder, which is there from now on."""
        self._make()
        return self._folder

    def _locate(self, text: str, *, writing: bool) -> Location:
        location = parse_location(text, self._storages.path_map)
        return location if isinstance(location, Relative) else self._storages.admit(location, writing=writing)

    def _place(self, location: Location) -> External:
        """Return where a location of this job is in the end: one place may have two names."""
        return self._destination.joined(location.path) if isinstance(location, Relative) else location

    async def input(self, text: str) -> Path:
        """Return the local path of a file to read."""
        location = await asyncio.to_thread(self._locate, text, writing=False)
        if staged := self._staged.get(self._place(location)):
            return staged.path
        if isinstance(location, Relative):
            raise InvalidJob([Problem("", f"{text!r} is made by no earlier task")])
        if location not in self._fetched:
            into = self.folder / "fetched" / str(len(self._fetched)) / plain_name(location.name)
            into.parent.mkdir(parents=True, exist_ok=True)
            path = self._fetched[location] = plainly_named(await self._fetch(location, into), into)
            self._asked[path] = location.name
        return self._fetched[location]

    async def _fetch(self, location: External, into: Path) -> Path:
        sources = self._sources
        if sources is None or not (self._is_part or sources.has_any()):
            return await self._storages.fetch(location, into)
        if not (version := await self._version(location)):
            return await self._storages.fetch(location, into)
        if self._is_part:
            return await sources.fetched(str(location), version, into, lambda: self._storages.fetch(location, into))
        found = await sources.linked(str(location), version, into)
        return found or await self._storages.fetch(location, into)

    def is_remote(self, text: str) -> bool:
        """Return whether a file outside must be fetched before it is read."""
        location = parse_location(text, self._storages.path_map)
        return isinstance(location, External) and location.scheme not in LOCAL

    async def excerpt(self, text: str, size: int, spans: Sequence[Span]) -> Excerpt | None:
        """Return a sparse copy of a remote file with these bytes of it; None where `input` is the better way."""
        location = await asyncio.to_thread(self._locate, text, writing=False)
        if isinstance(location, Relative) or location in self._fetched or self._sources is None:
            return None
        version = await self._version(location)
        if not version or not self._storages.sends_ranges(location):
            return None
        into = self.folder / "excerpts" / str(next(self._numbers)) / plain_name(location.name)

        async def fetch(path: Path, lacking: Sequence[Span]) -> None:
            await self._storages.fetch_spans(location, version, lacking, path)

        excerpts = Excerpts(self._sources)
        try:
            fetched = await excerpts.fetched(str(location), version, size, spans, into, fetch)
        except StorageUnavailable as error:
            log.warning("excerpt_not_fetched", source=location.name, error=str(error))
            return None
        if fetched is None:
            return None
        self._asked[into] = location.name
        return Excerpt(into, fetched)

    async def _version(self, location: External) -> str:
        """Return the version under which a remote file is shared, empty where there is none and for a local file."""
        if location.scheme in LOCAL:
            return ""
        found = await self._storages.serving(location).stat(location)
        return found.version if found is not None and not found.version.endswith("-") else ""

    async def share(self) -> None:
        """Let the parts that are made on this host have the remote files that were fetched here."""
        if self._sources is None:
            return
        for location, path in self._fetched.items():
            if version := await self._version(location):
                await self._sources.keep(str(location), version, path)

    def asked_name(self, path: Path) -> str:
        """Return the name of a file of this job as the job has it; tools may know it by a plainer one."""
        return self._asked.get(path, path.name)

    async def listing(self, text: str) -> tuple[str, ...]:
        """Return the locations of the files that are directly in a folder outside."""
        folder = parse_location(text if text.endswith("/") else f"{text}/", self._storages.path_map)
        if isinstance(folder, Relative):
            raise InvalidJob([Problem("", f"{text!r} is no folder outside the workspace")])
        return tuple(str(place) for place in await self._storages.serving(folder).listing(folder))

    async def version(self, text: str) -> str:
        """Return what changes when a file outside does."""
        location = await asyncio.to_thread(self._locate, text, writing=False)
        if isinstance(location, Relative):
            raise InvalidJob([Problem("", f"{text!r} is no file outside the workspace")])
        found = await self._storages.serving(location).stat(location)
        if found is None:
            raise SourceMissing(f"{text} does not exist")
        return found.version

    async def available(self, text: str) -> bool:
        """Return whether a file is staged, or is outside."""
        location = await asyncio.to_thread(self._locate, text, writing=False)
        if self._place(location) in self._staged:
            return True
        return isinstance(location, External) and await self._storages.serving(location).stat(location) is not None

    def output(
        self,
        text: str,
        *,
        role: str = "file",
        media_type: str | None = None,
        immutable: bool = False,
        duration: float | None = None,
    ) -> Path:
        """Return the local path for an output; what is there at the end is published."""
        location = self._locate(text, writing=True)
        place = self._place(location)
        known = self._staged.get(place)
        path = known.path if known else self._fresh(place)
        self._stage(location, path, role, media_type, immutable=immutable, duration=duration)
        return path

    def adopt(
        self,
        path: Path,
        text: str,
        *,
        role: str = "file",
        media_type: str | None = None,
        immutable: bool = False,
        duration: float | None = None,
    ) -> None:
        """Stage a file that a tool wrote elsewhere in scratch."""
        location = self._locate(text, writing=True)
        self._stage(location, path, role, media_type, immutable=immutable, duration=duration)

    def _stage(
        self,
        location: Location,
        path: Path,
        role: str,
        media_type: str | None,
        *,
        immutable: bool,
        duration: float | None,
    ) -> None:
        place = self._place(location)
        kind = media_type or media_type_of(place.name)
        self._staged.pop(place, None)
        if len(self._staged) >= self._most:
            raise InvalidJob([Problem("", f"the job makes more than {self._most} files (WORKER_JOB_OUTPUTS)")])
        self._staged[place] = Staged(path, place, role, kind, immutable, duration)
        self._deletions.pop(place, None)

    def _fresh(self, place: External) -> Path:
        """Return a path that no output of this attempt had: bytes stay where they are when their file is moved."""
        path = self.folder / "files" / str(next(self._numbers)) / plain_name(place.name)
        path.parent.mkdir(parents=True)
        self._asked[path] = place.name
        return path

    def new_scratch(self) -> Callable[[str], Path]:
        """Return what gives a task paths of its own, never published: an earlier one may have adopted from its own."""
        place = f"scratch/{next(self._numbers)}"

        def scratch(name: str) -> Path:
            path = self.folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            return path

        return scratch

    def exists(self, text: str) -> bool:
        """Return whether `text` is staged."""
        return self._place(self._locate(text, writing=False)) in self._staged

    def retarget(self, text: str, target: str) -> None:
        """Publish a staged file at `target` instead; its bytes stay where they are."""
        staged = self._staged.pop(self._place(self._locate(text, writing=True)))
        self._stage(
            self._locate(target, writing=True),
            staged.path,
            staged.role,
            None,
            immutable=staged.immutable,
            duration=staged.duration,
        )

    def withdraw(self, text: str) -> bool:
        """Forget a staged file; return whether there was one. The bytes go with the attempt."""
        return self._staged.pop(self._place(self._locate(text, writing=True)), None) is not None

    def delete_after(self, text: str) -> None:
        """Delete an external file once the record is written."""
        location = self._locate(text, writing=True)
        if isinstance(location, External):
            self._deletions[location] = None

    @property
    def staged(self) -> Mapping[External, Staged]:
        """Return the files that will be published, by place."""
        return self._staged

    @property
    def deletions(self) -> tuple[str, ...]:
        """Return the URIs to delete after the record; what this job writes is never among them."""
        return tuple(str(place) for place in self._deletions if place not in self._staged)

    def place_of(self, text: str) -> str:
        """Return the URI that a location of this job is published at."""
        return str(self._place(self._locate(text, writing=True)))

    async def artifacts(self) -> tuple[Artifact, ...]:
        """Return everything staged, measured and hashed; VerificationFailed for what is missing or empty."""
        job_id = self._folder.name.rpartition(".")[0]  # the name is `Attempt.scratch_name`
        found = [await asyncio.to_thread(measured, staged, job_id) for staged in self._staged.values()]
        return tuple(
            replace(artifact, replaces=place not in self._guarded)
            for place, artifact in zip(self._staged, found, strict=True)
        )
