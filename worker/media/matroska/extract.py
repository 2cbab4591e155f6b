"""The parts of a Matroska file to extract, as mkvextract's arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from worker.core.errors import BadInput, InvalidJob, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.media.matroska.merge import Identified
    from worker.media.matroska.params import ExtractParams, TrackExtract


VOBSUB: Final = "VobSub"
_PAIRS: Final = {".idx": ".sub", ".sub": ".idx"}


def vobsub_pair(place: str) -> str | None:
    """Return the name of the other file of a VobSub: `a.sub` for `a.idx`; None where `place` names neither."""
    suffix = PurePosixPath(place).suffix
    other = _PAIRS.get(suffix.lower())
    return None if other is None else place[: -len(suffix)] + other


@dataclass(frozen=True, slots=True)
class ExtractedPart:
    """One part: mkvextract's mode, a track's or attachment's number (None for the whole file's), where it goes.

    `pair` is where its other file goes: a VobSub is an index (.idx) and its pictures (.sub).
    """

    mode: str
    number: int | None
    place: str
    pair: str | None = None


def extracted_parts(params: ExtractParams, found: Identified) -> tuple[ExtractedPart, ...]:
    """Return what is wanted. InvalidJob with every track or attachment that is not there, BadInput for no chapters."""
    problems: list[Problem] = []
    items: list[ExtractedPart] = []
    for name, mode in (("tracks", "tracks"), ("timestamps", "timestamps_v2"), ("cues", "cues")):
        for index, asked in enumerate(getattr(params, name)):
            items += _of_track(f"{name}[{index}]", mode, asked, found, problems)
    for index, item in enumerate(params.attachments):
        match = [a for a in found.attachments if a.number == item.id or (item.name and a.name == item.name)]
        if match and match[0].bytes == 0:
            raise BadInput(f"{params.source}: the attachment {match[0].number} {match[0].name} is empty")
        if match:
            items.append(ExtractedPart("attachments", match[0].number, item.filename))
        else:
            names = ", ".join(f"{a.number} {a.name}" for a in found.attachments) or "none"
            problems.append(Problem(f"attachments[{index}]", f"is not among the attachments ({names})"))
    if problems:
        raise InvalidJob(problems)
    for name, count in (("chapters", found.chapters), ("tags", found.tags)):
        place = getattr(params, name)
        if place and not count:
            raise BadInput(f"{params.source} has no {name}")
        items += [ExtractedPart(name, None, place)] if place else []
    return tuple(items)


def _of_track(
    path: str, mode: str, asked: TrackExtract, found: Identified, problems: list[Problem]
) -> Iterator[ExtractedPart]:
    """Yield what is extracted of the track that `asked` names; what is wrong with it goes to `problems`."""
    track = found.like(asked)
    if track is None:
        problems.append(Problem(path, f"{_track_description(asked)} is not among {_tracks(found)}"))
        return
    pair = vobsub_pair(asked.filename) if mode == "tracks" and track.codec == VOBSUB else None
    if mode == "tracks" and track.codec == VOBSUB and pair is None:
        problems.append(Problem(f"{path}.filename", "is a VobSub, which is two files: end its name in .idx or .sub"))
    yield ExtractedPart(mode, track.number, asked.filename, pair)


def _track_description(asked: TrackExtract) -> str:
    if asked.track_type is None and asked.language is None:
        return f"track {asked.id}"
    kind = " ".join(filter(None, (asked.language, asked.track_type or "track")))
    return f"{kind} number {asked.id}"


def _tracks(found: Identified) -> str:
    return ", ".join(f"{track.number} {track.kind} {track.language}" for track in found.tracks) or "no tracks"


def extract_arguments(source: Path, items: tuple[ExtractedPart, ...], paths: Mapping[str, Path]) -> list[str]:
    """Return mkvextract's arguments, for an option file: each mode once, then its specifications.

    What is wanted twice is extracted once, into the path of the first: mkvextract refuses a number that comes again.
    """
    arguments = ["--gui-mode", str(source)]
    for mode in dict.fromkeys(item.mode for item in items):
        arguments.append(mode)
        for item in firsts(items).values():
            if item.mode == mode:
                path = str(paths[item.place])
                arguments.append(path if item.number is None else f"{item.number}:{path}")
    return arguments


def firsts(items: tuple[ExtractedPart, ...]) -> dict[tuple[str, int | None], ExtractedPart]:
    """Return the first item of every part, by mode and number."""
    found: dict[tuple[str, int | None], ExtractedPart] = {}
    for item in items:
        found.setdefault((item.mode, item.number), item)
    return found
