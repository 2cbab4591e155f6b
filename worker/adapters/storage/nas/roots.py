"""The folders that jobs may touch on this host, and whether the mounts behind them are there."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from worker.adapters.storage.hidden import HIDDEN
from worker.adapters.storage.nas import files
from worker.adapters.storage.nas.files import nas_errors
from worker.core.errors import MountMissing, RefusedPath
from worker.core.location import External

if TYPE_CHECKING:
    from collections.abc import Mapping

SENTINEL: Final = HIDDEN
# of no file: it makes a place in a folder out of the folder
_NAME: Final = "x"


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on this host: a resolved root, the names of the folders below it, the name of the file."""

    root: Path
    folders: tuple[str, ...]
    name: str

    @property
    def path(self) -> Path:
        """Return the absolute path."""
        return self.root.joinpath(*self.folders, self.name)


class NasRoots:
    """The logical root of `nas://`, and the folders that jobs may touch.

    A root that was a mount, or held the sentinel file `.leveret`, when this object was made must stay so: a bare
    mount point looks like an empty folder, and would swallow what is published into it.
    """

    def __init__(self, root: Path | None, roots: tuple[Path, ...], settings: Mapping[Path, str] | None = None) -> None:
        """Allow `roots`; `settings` are the names of the settings that gave them."""
        self._root = root
        self._roots = roots
        self._settings = dict(settings or {})
        self._marked = frozenset(one for one in roots if (one / SENTINEL).exists())
        self._mounted = frozenset(one for one in roots if os.path.ismount(one))

    def admit(self, place: External, *, writing: bool) -> External:
        """Return `place` with every link resolved, as `nas` wherever it is below the logical root.

        RefusedPath outside the roots, for a name of ours, and for what exists and is no regular file. A folder
        (trailing slash) may be written into.
        """
        spot = self.spot(place)
        if place.is_folder:
            if not writing:
                raise RefusedPath(f"{place} names a folder, where a file is expected")
            return self._named(spot, "/")
        with nas_errors(place), suppress(FileNotFoundError), files.opened_folder(spot.root, spot.folders) as folder:
            found = files.status(folder, spot.name)
            if found is not None:
                files.require_regular(found, place)
        return self._named(spot, "")

    def _named(self, spot: Spot, tail: str) -> External:
        path = spot.path
        if self._root is not None:
            root = _resolved(self._root)
            if root in path.parents:
                return External("nas", "", f"/{path.relative_to(root).as_posix()}{tail}")
        return External("file", "", f"{path.as_posix()}{tail}")

    def admit_folder(self, folder: External) -> External:
        """Return a folder, a root too, with every link resolved, as `admit` names it; RefusedPath outside the roots."""
        inside = self._named(self.inside(folder), "")
        return External(inside.scheme, inside.host, inside.path.removesuffix(_NAME))

    def inside(self, folder: External) -> Spot:
        """Return where a name directly in `folder` is: a root itself is no place below a root, what is in it is."""
        return self._spot(folder.joined(_NAME), folder)

    def spot(self, place: External) -> Spot:
        """Return where `place` is once every link is resolved; its deepest folders need not exist yet."""
        return self._spot(place, place)

    def _spot(self, place: External, named: External) -> Spot:
        """Return where `place` is; errors are about what people have `named`."""
        path = self._path(place)
        real = self._real(path, named)
        # The deepest root first; each time anew, for a mount that comes back may put another folder behind a link.
        for root in sorted(map(_resolved, self._roots), key=lambda one: len(one.parts), reverse=True):
            if root in real.parents:
                break
        else:
            raise self._outside(named)
        parts = real.relative_to(root).parts
        asked = PurePosixPath(place.path).parts
        if any(part.startswith(HIDDEN) for part in (*parts, *asked)):
            raise RefusedPath(f"{named}: names that begin with {HIDDEN} are the workers' own")
        return Spot(root, parts[:-1], parts[-1])

    def _real(self, path: Path, place: External) -> Path:
        try:
            return _resolved(path)
        except OSError as error:
            # What we may not even look at is refused, unless it is written below a root.
            if self._below(path, self._roots) is None:
                raise self._outside(place) from error
            with nas_errors(place):
                raise

    def _outside(self, place: External) -> RefusedPath:
        allowed = ", ".join(map(str, self._roots)) or "none (WORKER_ROOTS)"
        return RefusedPath(f"{place} is not inside the roots that jobs may touch: {allowed}")

    def _path(self, place: External) -> Path:
        if place.scheme != "nas":
            return Path(place.path)
        if self._root is None:
            raise RefusedPath(f"{place}: nas:// means nothing here, for WORKER_NAS_ROOT is not set")
        return self._root / place.key

    def require_mounted(self, root: Path | None = None) -> None:
        """Return if every root, or the resolved `root` alone, is there; MountMissing says what is not."""
        for one in self._roots:
            if root is not None and _resolved(one) != root:
                continue
            if not one.is_dir():
                variable = self._settings.get(one) or ("WORKER_NAS_ROOT" if one == self._root else "WORKER_ROOTS")
                raise MountMissing(f"{one} is not there: mount it, make it, or correct {variable}")
            if one in self._marked and not (one / SENTINEL).exists():
                raise MountMissing(f"{one} has lost its sentinel file {SENTINEL}: the mount seems to be gone")
            if one in self._mounted and not os.path.ismount(one):
                raise MountMissing(f"{one} was a mount and is a bare folder now")

    def url(self, place: External, public_url: str | None) -> str:
        """Return `public_url` and the key, else the path from the NAS root, else the absolute path.

        The key is the path below the NAS root, or below the root that holds it. Nothing is asked of the disk but
        where the roots' own links lead.
        """
        path = self._path(place)
        key = self._below(path, (self._root,) if self._root is not None else ())
        if public_url is not None:
            key = key or self._below(path, self._roots) or path.as_posix().lstrip("/")
            return f"{public_url.rstrip('/')}/{quote(key)}"
        return f"/{key}" if key is not None else path.as_posix()

    def _below(self, path: Path, roots: tuple[Path, ...]) -> str | None:
        for root in roots:
            for spelling in (root, _resolved(root)):
                if spelling in path.parents:
                    return path.relative_to(spelling).as_posix()
        return None


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
