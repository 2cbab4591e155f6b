"""What of a Matroska file is wanted, as mkvextract's arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.errors import BadInput, InvalidJob, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.media.matroska.merge import Identified
    from worker.media.matroska.params import ExtractParams, TrackExtract


@dataclass(frozen=True, slots=True)
class Wanted:
    """One part: mkvextract's mode, a track's or attachment's number (None for the whole file's), where it goes."""

    mode: str
    number: int | None
    place: str


def wanted(params: ExtractParams, found: Identified) -> tuple[Wanted, ...]:
    """Return what is wanted. InvalidJob with every track or attachment that is not there, BadInput for no chapters."""
    problems: list[Problem] = []
    items: list[Wanted] = []
    for name, mode in (("tracks", "tracks"), ("timestamps", "timestamps_v2"), ("cues", "cues")):
        wishes: list[TrackExtract] = getattr(params, name)
        for index, wish in enumerate(wishes):
            track = found.like(wish)
            if track is None:
                problems.append(Problem(f"{name}[{index}]", f"{_described(wish)} is not among {_tracks(found)}"))
            else:
                items.append(Wanted(mode, track.number, wish.filename))
    for index, item in enumerate(params.attachments):
        match = [a.number for a in found.attachments if a.number == item.id or (item.name and a.name == item.name)]
        if match:
            items.append(Wanted("attachments", match[0], item.filename))
        else:
            names = ", ".join(f"{a.number} {a.name}" for a in found.attachments) or "none"
            problems.append(Problem(f"attachments[{index}]", f"is not among the attachments ({names})"))
    if problems:
        raise InvalidJob(problems)
    for name, count in (("chapters", found.chapters), ("tags", found.tags)):
        place = getattr(params, name)
        if place and not count:
            raise BadInput(f"{params.source} has no {name}")
        items += [Wanted(name, None, place)] if place else []
    return tuple(items)


def _described(wish: TrackExtract) -> str:
    if wish.track_type is None and wish.language is None:
        return f"track {wish.id}"
    kind = " ".join(filter(None, (wish.language, wish.track_type or "track")))
    return f"{kind} number {wish.id}"


def _tracks(found: Identified) -> str:
    return ", ".join(f"{track.number} {track.kind} {track.language}" for track in found.tracks) or "no tracks"


def extract_arguments(source: Path, items: tuple[Wanted, ...], paths: Mapping[str, Path]) -> list[str]:
    """Return mkvextract's arguments, for an option file: each mode once, then its specifications."""
    arguments = ["--gui-mode", str(source)]
    for mode in dict.fromkeys(item.mode for item in items):
        arguments.append(mode)
        for item in items:
            if item.mode == mode:
                path = str(paths[item.place])
                arguments.append(path if item.number is None else f"{item.number}:{path}")
    return arguments
