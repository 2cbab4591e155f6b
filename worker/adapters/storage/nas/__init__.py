"""Folders of this host as a storage: a mounted NAS under `nas://`, and absolute paths under the roots."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from worker.adapters.storage.nas import files
from worker.adapters.storage.nas.files import HIDDEN, MAX_NAME_BYTES, nas_errors
from worker.adapters.storage.nas.roots import NasRoots, Spot
from worker.adapters.threads import Stop, in_thread
from worker.core.attempt import is_publish_folder, job_mark
from worker.core.errors import (
    OVERWRITE,
    DiskFull,
    MountMissing,
    OutputExists,
    SourceMissing,
    StorageUnavailable,
    VerificationFailed,
)
from worker.core.location import External, parse_location
from worker.core.media_types import media_type_of
from worker.core.parts import PARTS_FOLDER
from worker.core.ports import Stat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.attempt import Artifact
    from worker.core.ports import Confirm

LEFT_OVER_SECONDS: Final = 24 * 3600.0
ANSWER_SECONDS: Final = 30.0
_AT_ONCE: Final = 4
_PROBE_BYTES: Final = 64 * 1024


class NasStorage:
    """The schemes `nas` (under `root`) and `file`, both inside `roots` once every link is resolved.

    `destination` is the folder that `check` writes to; `free_bytes` must be free there; `settings` name what gave each
    root. Files are copied to a
    hidden name beside their final one, flushed, and renamed: a reader sees the old file or the whole new one.
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
        self._made: set[Path] = set()

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
                await in_thread(partial(self._stage, artifact))

        tasks = [asyncio.create_task(one(artifact)) for artifact in artifacts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await in_thread(lambda _: self._sweep(artifacts))

    def _stage(self, artifact: Artifact, stop: Stop) -> None:
        spot = self._roots.spot(_place(artifact))
        with nas_errors(artifact.uri):
            self._roots.require_mounted(spot.root)
            try:
                self._bring(spot, artifact, stop)
            except FileNotFoundError:
                # An attempt that lost the job removed the empty folder while we were about to use it.
                self._bring(spot, artifact, stop)

    def _bring(self, spot: Spot, artifact: Artifact, stop: Stop) -> None:
        hidden = _hidden_name(artifact, spot.name)
        with files.opened_folder(spot.root, spot.folders, self._made) as folder:
            found = files.status(folder, spot.name)
            if found is not None:
                files.require_regular(found, artifact.uri)
            if _is_stored(folder, spot.name if artifact.immutable else hidden, artifact, stop):
                return
            try:
                files.copy_into(artifact.path, folder, hidden, artifact.bytes, stop)
            except BaseException:
                files.drop(folder, hidden)
                raise
            if artifact.immutable:
                os.replace(hidden, spot.name, src_dir_fd=folder, dst_dir_fd=folder)
                files.flush_folder(folder)

    def _sweep(self, artifacts: Sequence[Artifact]) -> None:
        seen: set[tuple[str, ...]] = set()
        for artifact in artifacts:
            spot = self._roots.spot(_place(artifact))
            if spot.folders in seen:
                continue
            seen.add(spot.folders)
            with nas_errors(artifact.uri), files.opened_folder(spot.root, spot.folders) as folder:
                target = spot.name if artifact.immutable else _hidden_name(artifact, spot.name)
                ours = files.status(folder, target)
                if ours is not None:
                    files.sweep(folder, LEFT_OVER_SECONDS, ours.st_ctime)

    async def reveal(self, artifacts: Sequence[Artifact], confirm: Confirm) -> None:
        """Rename each staged file to its fixed name, in this order, right after `confirm`; repeating it is harmless."""
        for artifact in artifacts:
            if not await in_thread(partial(self._revealed, artifact)):
                await confirm()
                await in_thread(partial(self._reveal, artifact))

    def _revealed(self, artifact: Artifact, stop: Stop) -> bool:
        """Return whether the file is at its name already; StorageUnavailable when it was never staged."""
        spot = self._roots.spot(_place(artifact))
        with nas_errors(artifact.uri):
            self._roots.require_mounted(spot.root)
            with files.opened_folder(spot.root, spot.folders) as folder:
                staged = None if artifact.immutable else files.status(folder, _hidden_name(artifact, spot.name))
                if staged is None:
                    if _is_stored(folder, spot.name, artifact, stop):
                        return True
                    raise StorageUnavailable(f"{artifact.uri}: what was staged there is gone")
                if staged.st_size != artifact.bytes:
                    raise VerificationFailed(f"{artifact.uri}: {staged.st_size} of {artifact.bytes} bytes were staged")
        return False

    def _reveal(self, artifact: Artifact, stop: Stop) -> None:
        spot = self._roots.spot(_place(artifact))
        with nas_errors(artifact.uri), files.opened_folder(spot.root, spot.folders) as folder:
            hidden = _hidden_name(artifact, spot.name)
            if artifact.replaces or not _shown_anew(folder, hidden, spot.name, artifact, stop):
                os.replace(hidden, spot.name, src_dir_fd=folder, dst_dir_fd=folder)
            files.flush_folder(folder)
        # Folders that hold something visible are no longer ours to take back.
        here = spot.path.parent
        self._made -= {one for one in self._made.copy() if one == here or one in here.parents or here in one.parents}

    async def discard(self, artifacts: Sequence[Artifact]) -> None:
        """Remove hidden files, immutable files, the attempt's folder, and the empty folders that `stage` made."""
        for artifact in artifacts:
            await in_thread(partial(self._discard, artifact))

    def _discard(self, artifact: Artifact, _stop: Stop) -> None:
        spot = self._roots.spot(_place(artifact))
        with nas_errors(artifact.uri):
            with suppress(FileNotFoundError), files.opened_folder(spot.root, spot.folders) as folder:
                files.drop(folder, _hidden_name(artifact, spot.name))
                if artifact.immutable:
                    files.drop(folder, spot.name)
            self._remove_empty(spot, keep=_kept_depth(spot.folders) if artifact.immutable else len(spot.folders))

    def _remove_empty(self, spot: Spot, keep: int) -> None:
        """Remove the empty folders of `spot` deeper than `keep`, and those above that this object made."""
        for depth in range(len(spot.folders), 0, -1):
            path = spot.root.joinpath(*spot.folders[:depth])
            if depth <= keep and path not in self._made:
                return
            try:
                with files.opened_folder(spot.root, spot.folders[: depth - 1]) as above:
                    os.rmdir(path.name, dir_fd=above)
            except FileNotFoundError:
                pass
            except OSError:
                # Not empty: another output, or another attempt, lives there.
                return
            self._made.discard(path)

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
            self._remove_empty(spot, keep=_kept_depth(spot.folders))

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
        probe = External("file", "", f"{self._destination.as_posix().rstrip('/')}/probe")
        spot = self._roots.spot(probe)
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


def _place(artifact: Artifact) -> External:
    place = parse_location(artifact.uri)
    if not isinstance(place, External):
        raise StorageUnavailable(f"{artifact.uri} is no address of a storage")
    return place


def _hidden_name(artifact: Artifact, name: str) -> str:
    """Return the name under which the bytes wait: the same for a repeated upload of the same staged file.

    The staged path is in it, for it holds job and epoch: two attempts never share, nor remove, a hidden file.
    """
    token = hashlib.sha256(f"{artifact.path}\0{artifact.sha256}\0{name}".encode()).hexdigest()[:24]
    start = f"{HIDDEN}-{artifact.mark}-{token}-"
    return start + name.encode()[: MAX_NAME_BYTES - len(start)].decode(errors="ignore")


def _is_stored(folder: int, name: str, artifact: Artifact, stop: Stop) -> bool:
    """Return whether `name` holds the artifact's very bytes already."""
    found = files.status(folder, name)
    return found is not None and found.st_size == artifact.bytes and files.digest(folder, name, stop) == artifact.sha256


def _shown_anew(folder: int, hidden: str, name: str, artifact: Artifact, stop: Stop) -> bool:
    """Return whether the staged file has its fixed name now; False where an earlier one of its job has it.

    OutputExists where anybody else's file has it.
    """
    while True:
        if files.name_anew(folder, hidden, name):
            return True
        try:
            standing = files.digest(folder, name, stop)
        except FileNotFoundError:
            # It went this very moment.
            continue
        if standing == artifact.sha256:
            files.drop(folder, hidden)
            return True
        if standing in artifact.earlier:
            return False
        raise OutputExists(f"{artifact.uri} exists, and this job did not make it; {OVERWRITE}")


def _kept_depth(folders: Sequence[str]) -> int:
    """Return how many of `folders` are above our own (an attempt's, that of parts): all, if there is none."""
    own = [depth for depth, name in enumerate(folders) if is_publish_folder(name) or name == PARTS_FOLDER]
    return own[-1] if own else len(folders)
