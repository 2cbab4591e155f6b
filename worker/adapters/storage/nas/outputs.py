"""Outputs on their way to a folder: copied beside their names, hidden, and renamed when they may be seen."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.adapters.storage.hidden import HIDDEN, LEFT_OVER_SECONDS
from worker.adapters.storage.nas import files
from worker.adapters.storage.nas.files import MAX_NAME_BYTES, nas_errors
from worker.core.attempt import is_publish_folder
from worker.core.errors import OVERWRITE, OutputExists, StorageUnavailable, VerificationFailed
from worker.core.location import External, parse_location
from worker.core.parts import PARTS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.adapters.storage.nas.roots import NasRoots, Spot
    from worker.adapters.threads import Stop
    from worker.core.attempt import Artifact


class NasOutputs:
    """The steps of `NasStorage` for one output each; they wait for the file system, so they are called in threads."""

    def __init__(self, roots: NasRoots) -> None:
        self._roots = roots
        self._made: set[Path] = set()
        """Folders that this object made, and that are still empty."""

    def _spot(self, artifact: Artifact) -> Spot:
        place = parse_location(artifact.uri)
        if not isinstance(place, External):
            raise StorageUnavailable(f"{artifact.uri} is no address of a storage")
        return self._roots.spot(place)

    def stage(self, artifact: Artifact, stop: Stop) -> None:
        """Copy one beside its name, hidden; an immutable one gets its name at once. What is there whole is kept."""
        spot = self._spot(artifact)
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

    def sweep(self, artifacts: Sequence[Artifact]) -> None:
        """Remove hidden files older than a day beside staged ones, by the file system's own clock."""
        seen: set[tuple[str, ...]] = set()
        for artifact in artifacts:
            spot = self._spot(artifact)
            if spot.folders in seen:
                continue
            seen.add(spot.folders)
            with nas_errors(artifact.uri), files.opened_folder(spot.root, spot.folders) as folder:
                target = spot.name if artifact.immutable else _hidden_name(artifact, spot.name)
                ours = files.status(folder, target)
                if ours is not None:
                    files.sweep(folder, LEFT_OVER_SECONDS, ours.st_ctime)

    def is_revealed(self, artifact: Artifact, stop: Stop) -> bool:
        """Return whether the file is at its name already; StorageUnavailable when it was never staged."""
        spot = self._spot(artifact)
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

    def reveal(self, artifact: Artifact, stop: Stop) -> None:
        """Rename a staged one to its name; OutputExists where a file stands there that it may not replace."""
        spot = self._spot(artifact)
        with nas_errors(artifact.uri), files.opened_folder(spot.root, spot.folders) as folder:
            hidden = _hidden_name(artifact, spot.name)
            if artifact.replaces or not _take_name(folder, hidden, spot.name, artifact, stop):
                os.replace(hidden, spot.name, src_dir_fd=folder, dst_dir_fd=folder)
            files.flush_folder(folder)
        # Folders that hold something visible are no longer ours to take back.
        here = spot.path.parent
        self._made -= {one for one in self._made.copy() if one == here or one in here.parents or here in one.parents}

    def discard(self, artifact: Artifact, _stop: Stop) -> None:
        """Remove the hidden file, an immutable one's own, and the empty folders made for them."""
        spot = self._spot(artifact)
        with nas_errors(artifact.uri):
            with suppress(FileNotFoundError), files.opened_folder(spot.root, spot.folders) as folder:
                files.drop(folder, _hidden_name(artifact, spot.name))
                if artifact.immutable:
                    files.drop(folder, spot.name)
            self._remove_empty(spot, _kept_depth(spot.folders) if artifact.immutable else len(spot.folders))

    def remove_empty(self, spot: Spot) -> None:
        """Remove our own folder (an attempt's, that of parts) and those in it, as far as they are empty."""
        self._remove_empty(spot, _kept_depth(spot.folders))

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


def _take_name(folder: int, hidden: str, name: str, artifact: Artifact, stop: Stop) -> bool:
    """Return whether the staged file has its fixed name now; False where an earlier one of its job has it.

    OutputExists where anybody else's file has it.
    """
    while True:
        if files.take_name(folder, hidden, name):
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
