"""The places of a presentation's files, and how they name each other."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from worker.core.errors import InvalidJob, Problem
from worker.core.location import External, parse_location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Layout:
    """Locations: the manifests, and for each stream its folder of immutable files and its media playlist.

    A stream whose playlist has a fixed name (a transcode output's) is in `fixed`. `folder` is where whatever
    belongs to no stream of its own (poster, storyboard) goes, under the attempt's folder.
    """

    multivariant: str
    mpd: str
    folder: str
    folders: Mapping[str, str]
    playlists: Mapping[str, str]
    fixed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse places that cannot name each other: a playlist's URIs are relative."""
        places = {place_of(text)[0] for text in (self.multivariant, *self.playlists.values(), *self.folders.values())}
        if len(places) > 1:
            raise InvalidJob([Problem("renditions", "have destinations in different storages; one is needed")])


def under(folder: str, name: str) -> str:
    """Return the location of `name` in `folder`; the empty folder is the job's destination."""
    return folder + name if not folder or folder.endswith("/") else f"{folder}/{name}"


def place_of(location: str) -> tuple[str, str]:
    """Return which storage a location is in, and its path there."""
    place = parse_location(location)
    if isinstance(place, External):
        return f"{place.scheme}://{place.host}", place.path
    return "", "/" + place.path


def relative_uri(start: str, target: str) -> str:
    """Return how the playlist at `start` names the file at `target`, percent-encoded."""
    # a % or $ of a folder's name is neither an escape nor a template of DASH
    return quote(posixpath.relpath(place_of(target)[1], posixpath.dirname(place_of(start)[1])), safe="/~@!&'()*+,;=")


def common_folder(folders: Sequence[str]) -> str:
    """Return the folder of `folders` if it is one, else the nearest that holds them all, with a slash at its end."""
    if len(set(folders)) == 1:
        return folders[0].rstrip("/") + "/"
    storages = {place_of(under(folder, "x"))[0] for folder in folders}
    if len(storages) > 1:
        raise InvalidJob([Problem("renditions", "have destinations in different storages; name an output_base")])
    paths = [posixpath.dirname(place_of(under(folder, "x"))[1]) for folder in folders]
    parent = posixpath.commonpath(paths).strip("/")
    storage = storages.pop()
    if not storage:
        return parent + "/" if parent else ""
    if storage == "file://":
        return f"/{parent}/" if parent else "/"
    return f"{storage.rstrip('/')}/{parent}/" if storage != "nas://" else f"nas://{parent}/" if parent else "nas://"


def layout_of(
    destination: str,
    attempt_folder: str,
    master: str,
    streams: Sequence[str],
    own_folders: Mapping[str, str],
) -> Layout:
    """Return the layout of `streams`: immutable files under `attempt_folder`, manifests at fixed names.

    `own_folders` are the destinations that a publisher named for single streams (a transcode output's
    `dest_path`): their media playlists are there at a fixed name, `index.m3u8`, or `media.m3u8` where the
    multivariant playlist or another stream has that name.
    """
    multivariant = under(destination, master)
    taken = {place_of(multivariant)}
    folders: dict[str, str] = {}
    playlists: dict[str, str] = {}
    for stream in streams:
        own = own_folders.get(stream)
        if own is None:
            folders[stream] = under(destination, f"{attempt_folder}/{stream}")
            playlists[stream] = under(folders[stream], "index.m3u8")
            continue
        folders[stream] = under(own, f"{attempt_folder}/{stream}")
        names = ("index.m3u8", "media.m3u8", f"{stream}.m3u8")
        playlists[stream] = next(place for name in names if place_of(place := under(own, name)) not in taken)
        taken.add(place_of(playlists[stream]))
    mpd = under(destination, "manifest.mpd")
    folder = under(destination, attempt_folder)
    return Layout(multivariant, mpd, folder, folders, playlists, frozenset(own_folders))
