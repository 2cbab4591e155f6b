"""All storages as one: each place goes to the storage that serves its scheme, and a job's files appear together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.core.errors import RefusedPath, StorageUnavailable
from worker.core.location import External, parse_location
from worker.core.ports import RangedStorage, Unobserved
from worker.core.spans import total

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from worker.core.attempt import Artifact
    from worker.core.ports import Confirm, Observer, Storage
    from worker.core.ports.originals import OriginalKeeper
    from worker.core.spans import Span


@dataclass(frozen=True, slots=True)
class Storages:
    """The storages of this host by scheme, and the translation of publishers' mount points.

    `makers` make those that most workers never need, at the first place of their scheme. `keepers` keep what jobs
    replace or delete; where a scheme has none, it is gone at once.
    """

    by_scheme: dict[str, Storage]
    path_map: Mapping[str, str]
    observer: Observer = field(default_factory=Unobserved)
    makers: Mapping[str, Callable[[], Storage]] = field(default_factory=dict)
    keepers: Mapping[str, OriginalKeeper] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        storages: Iterable[Storage],
        path_map: Mapping[str, str] | None = None,
        observer: Observer | None = None,
        makers: Mapping[str, Callable[[], Storage]] | None = None,
        keepers: Iterable[OriginalKeeper] = (),
    ) -> Storages:
        """Return the storages together."""
        by_scheme = {scheme: storage for storage in storages for scheme in storage.schemes}
        keeping = {scheme: keeper for keeper in keepers for scheme in keeper.schemes}
        return cls(by_scheme, path_map or {}, observer or Unobserved(), makers or {}, keeping)

    def serving(self, place: External) -> Storage:
        """Return the storage of a place; RefusedPath when this host has none for its scheme."""
        storage = self.by_scheme.get(place.scheme)
        if storage is None and (make := self.makers.get(place.scheme)):
            storage = self.by_scheme[place.scheme] = make()
        if storage is None:
            raise RefusedPath(f"{place}: {place.scheme}:// is not set up on this worker")
        return storage

    def admit(self, place: External, *, writing: bool) -> External:
        """Return the place in its storage's normal form; RefusedPath outside the roots."""
        return self.serving(place).admit(place, writing=writing)

    def admit_folder(self, folder: External) -> External:
        """Return the folder in its storage's normal form; RefusedPath outside the roots."""
        return self.serving(folder).admit_folder(folder)

    def place(self, uri: str) -> External:
        """Return the place that one of our own URIs names."""
        place = parse_location(uri)
        if not isinstance(place, External):
            raise RefusedPath(f"{uri} is no URI")
        return place

    async def fetch(self, place: External, into: Path) -> Path:
        """Return a local path of the file: itself on a NAS, else a complete copy at `into`."""
        path = await self.serving(place).fetch(place, into)
        if path == into:
            self.observer.moved("in", place.scheme, path.stat().st_size)
        return path

    def sends_ranges(self, place: External) -> bool:
        """Return whether the storage of a place can send parts of a file."""
        return isinstance(self.serving(place), RangedStorage)

    async def fetch_spans(self, place: External, version: str, spans: Sequence[Span], into: Path) -> None:
        """Write these bytes of a version of a file into `into` at their own offsets."""
        storage = self.serving(place)
        if not isinstance(storage, RangedStorage):
            raise StorageUnavailable(f"{place}: {place.scheme}:// sends no parts of files")
        await storage.fetch_spans(place, version, spans, into)
        self.observer.moved("in", place.scheme, total(spans))

    async def publish(
        self, artifacts: Sequence[Artifact], confirm: Confirm, staged: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Bring every artifact to its place, then make them visible: media first, manifests last.

        Nothing is visible until everything is there: then `staged` is awaited. `confirm` is awaited before each fixed
        name.
        """
        for storage, own in self._grouped(artifacts):
            await storage.stage(own)
            self.observer.moved("out", self.place(own[0].uri).scheme, sum(artifact.bytes for artifact in own))
        if staged is not None:
            await staged()
        fixed = [artifact for artifact in artifacts if not artifact.immutable]
        for phase in (artifacts_but_manifests(fixed), [item for item in fixed if item.role == "manifest"]):
            for storage, own in self._grouped(phase):
                await storage.reveal(own, confirm)

    async def discard(self, artifacts: Sequence[Artifact]) -> None:
        """Remove what `publish` left invisible or in the attempt's own folder."""
        for storage, own in self._grouped(artifacts):
            await storage.discard(own)

    async def delete(self, uri: str) -> None:
        """Delete an external file."""
        place = self.place(uri)
        await self.serving(place).delete(await asyncio.to_thread(self.admit, place, writing=True))

    async def sweep(self, uri: str, job_id: str) -> None:
        """Remove what interrupted attempts of a job left hidden beside one of its files."""
        place = self.place(uri)
        await self.serving(place).sweep(await asyncio.to_thread(self.admit, place, writing=True), job_id)

    def url(self, uri: str) -> str:
        """Return the address of an artifact that the record shows."""
        place = self.place(uri)
        return self.serving(place).url(place)

    async def check(self) -> None:
        """Return if every storage answers; raises its error otherwise."""
        for storage in {id(item): item for item in self.by_scheme.values()}.values():
            await storage.check()

    def _grouped(self, artifacts: Sequence[Artifact]) -> list[tuple[Storage, list[Artifact]]]:
        groups: dict[int, tuple[Storage, list[Artifact]]] = {}
        for artifact in artifacts:
            storage = self.serving(self.place(artifact.uri))
            groups.setdefault(id(storage), (storage, []))[1].append(artifact)
        return list(groups.values())


def artifacts_but_manifests(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Return what manifests may point at, playlists after the media they list."""
    rest = [item for item in artifacts if item.role != "manifest"]
    return sorted(rest, key=lambda item: item.role == "playlist")
