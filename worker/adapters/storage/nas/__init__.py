"""Folders of this host as a storage: a mounted NAS under `nas://`, and absolute paths under the roots."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from worker.adapters.storage.hidden import HIDDEN
from worker.adapters.storage.nas import files
from worker.adapters.storage.nas.files import nas_errors
from worker.adapters.storage.nas.outputs import NasOutputs
from worker.adapters.storage.nas.roots import NasRoots
from worker.adapters.threads import in_thread
from worker.core.attempt import job_mark
from worker.core.errors import DiskFull, MountMissing, SourceMissing
from worker.core.location import External
from worker.core.media_types import media_type_of
from worker.core.ports import Stat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.attempt import Artifact
    from worker.core.ports import Confirm

ANSWER_SECONDS: Final = 30.0
_AT_ONCE: Final = 4
_PROBE_BYTES: Final = 64 * 1024


class NasStorage:
    """The schemes `nas` (under `root`) and `file`, both inside `roots` once every link is resolved.

    `destination` is the folder that `check` writes to; `free_bytes` must be free there; `settings` name what gave each
    root. Files are copied to a hidden name beside their final one, flushed, and renamed: a reader sees the old file or
    the whole new one.
    """

    schemes = frozenset({"file", "nas"})

    def __init__(
        self,
        root: Path | None,
        roots: tuple[Path, ...],
        *,
        destination: Path | None = None,
        public_url: str | None = None,
        free_bytes: int = 0,
        settings: Mapping[Path, str] | None = None,
    ) -> None:
        self._roots = NasRoots(root, roots, settings)
        self._destination = destination
        self._public_url = public_url
        self._free_bytes = free_bytes
        self._outputs = NasOutputs(self._roots)

    def admit(self, place: External, *, writing: bool) -> External:
        """Return `place` with every link resolved; RefusedPath outside the roots, for what is no file, for our names.

        It asks the file system: on a slow mount call it in a thread.
        """
        return self._roots.admit(place, writing=writing)

    def admit_folder(self, folder: External) -> External:
        """Return a folder, a root too, with every link resolved; RefusedPath outside the roots."""
        return self._roots.admit_folder(folder)

    def url(self, place: External) -> str:
        """Return the public URL where there is one, else the path from the NAS root, else the absolute path."""
        return self._roots.url(place, self._public_url)

    async def stat(self, place: External) -> Stat | None:
        """Return size and media type, or None; MountMissing when the root itself is gone."""
        return await in_thread(lambda _: self._stat(place))

    def _stat(self, place: External) -> Stat | None:
        spot = self._roots.spot(place)
        with nas_errors(place):
            self._roots.require_mounted(spot.root)
            with suppress(FileNotFoundError), files.opened_folder(spot.root, spot.folders) as folder:
                found = files.status(folder, spot.name)
                if found is not None:
                    files.require_regular(found, place)
                    version = f"{found.st_size}-{found.st_mtime_ns}"
                    return Stat(found.st_size, media_type_of(spot.name), version)
        return None

    async def listing(self, folder: External) -> tuple[External, ...]:
        """Return the regular files directly in a folder; links, folders and hidden names are passed over."""
        return await in_thread(lambda _: self._listing(folder))

    def _listing(self, folder: External) -> tuple[External, ...]:
        spot = self._roots.spot(folder)
        with nas_errors(folder):
            self._roots.require_mounted(spot.root)
            try:
                with files.opened_folder(spot.root, (*spot.folders, spot.name)) as descriptor:
                    names = files.regular_names(descriptor)
            except FileNotFoundError as error:
                raise SourceMissing(f"{folder} does not exist") from error
        return tuple(folder.joined(name) for name in names)

    async def fetch(self, place: External, into: Path) -> Path:
        """Return the real path of the file, in place: nothing is copied. SourceMissing when it is not there.

        A link that someone with write access to the NAS puts there after this cannot be seen from here.
        """
        del into
        return await in_thread(lambda _: self._fetch(place))

    def _fetch(self, place: External) -> Path:
        spot = self._roots.spot(place)
        with nas_errors(place):
            self._roots.require_mounted(spot.root)
            try:
                with files.opened_folder(spot.root, spot.folders) as folder:
                    files.check_readable(folder, spot.name, place)
            except FileNotFoundError as error:
                raise SourceMissing(f"{place} does not exist") from error
        return spot.path

    async def stage(self, artifacts: Sequence[Artifact]) -> None:
        """Copy every file beside its final name, hidden; immutable ones get their name at once, for nobody knows it.

        What an interrupted stage of the same files left complete is kept, hidden files of crashed workers older than a
        day are removed.
        """
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(artifact: Artifact) -> None:
            async with limit:
                await in_thread(partial(self._outputs.stage, artifact))

        tasks = [asyncio.create_task(one(artifact)) for artifact in artifacts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await in_thread(lambda _: self._outputs.sweep(artifacts))

    async def reveal(self, artifacts: Sequence[Artifact], confirm: Confirm) -> None:
        """Rename each staged file to its fixed name, in this order, right after `confirm`; repeating it is harmless."""
        for artifact in artifacts:
            if not await in_thread(partial(self._outputs.is_revealed, artifact)):
                await confirm()
                await in_thread(partial(self._outputs.reveal, artifact))

    async def discard(self, artifacts: Sequence[Artifact]) -> None:
        """Remove hidden files, immutable files, the attempt's folder, and the empty folders that `stage` made."""
        for artifact in artifacts:
            await in_thread(partial(self._outputs.discard, artifact))

    async def sweep(self, place: External, job_id: str) -> None:
        """Remove the hidden files of a job beside `place`."""
        await in_thread(lambda _: self._sweep_job(place, job_id))

    def _sweep_job(self, place: External, job_id: str) -> None:
        spot = self._roots.spot(place)
        with nas_errors(place):
            self._roots.require_mounted(spot.root)
            with suppress(FileNotFoundError), files.opened_folder(spot.root, spot.folders) as folder:
                for name in files.hidden_names(folder):
                    if name.startswith(f"{HIDDEN}-{job_mark(job_id)}-"):
                        files.drop(folder, name)

    async def delete(self, place: External) -> None:
        """Delete a file, and the attempt's own folder that it leaves empty; none there is success.

        RefusedPath for what is no file.
        """
        await in_thread(lambda _: self._delete(place))

    def _delete(self, place: External) -> None:
        spot = self._roots.spot(place)
        with nas_errors(place):
            self._roots.require_mounted(spot.root)
            with suppress(FileNotFoundError), files.opened_folder(spot.root, spot.folders) as folder:
                found = files.status(folder, spot.name)
                if found is not None:
                    files.require_regular(found, place)
                    files.drop(folder, spot.name)
                    files.flush_folder(folder)
            self._outputs.remove_empty(spot)

    async def check(self) -> None:
        """Return if every root is there and the destination takes a file now; MountMissing, DiskFull otherwise."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.to_thread(self._check)
        except TimeoutError as error:
            raise MountMissing(f"the file system did not answer within {ANSWER_SECONDS:.0f} s") from error

    def _check(self) -> None:
        with nas_errors(self._destination or "roots"):
            self._roots.require_mounted()
        if self._destination is None:
            return
        spot = self._roots.inside(External("file", "", self._destination.as_posix()))
        name = f"{HIDDEN}-check-{secrets.token_hex(8)}"
        with nas_errors(self._destination), files.opened_folder(spot.root, spot.folders, set()) as folder:
            space = os.statvfs(folder)
            free = space.f_bavail * space.f_frsize
            if free < max(self._free_bytes, _PROBE_BYTES):
                raise DiskFull(f"{self._destination} has {free} bytes free, and {self._free_bytes} are needed")
            try:
                files.write_new(folder, name, bytes(_PROBE_BYTES))
            finally:
                files.drop(folder, name)
