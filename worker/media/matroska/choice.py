"""Tracks that a job chooses by what they are, turned into their numbers once the files are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.errors import InvalidJob, Problem
from worker.media.languages import UNKNOWN, bcp47
from worker.media.matroska.merge import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.matroska.merge import Identified
    from worker.media.matroska.params import MergeParams, MergeTrack


def with_numbers(params: MergeParams, found: Sequence[Identified], infos: Sequence[MediaInfo | None]) -> MergeParams:
    """Return `params` with a number for every track; `infos` are of those sources that tracks are chosen from.

    InvalidJob for a choice that nothing matches, and for a track that two entries name.
    """
    tracks: list[MergeTrack] = []
    problems: list[Problem] = []
    taken: set[tuple[int, int]] = set()
    for index, asked in enumerate(params.tracks):
        numbers = [asked.track] if asked.track is not None else _numbers(asked, found, infos)
        if not numbers:
            there = _there(found[asked.source], infos[asked.source])
            message = f"no track of source {asked.source} is {asked.track_description()}; it has {there}"
            problems.append(Problem(f"tracks[{index}]", message))
        for number in numbers:
            if (asked.source, number) in taken:
                message = f"means track {number} of source {asked.source} for the second time"
                problems.append(Problem(f"tracks[{index}]", message))
            taken.add((asked.source, number))
            tracks.append(asked.model_copy(update={"track": number}))
    if problems:
        raise InvalidJob(problems)
    return params.model_copy(update={"tracks": tracks})


def _numbers(asked: MergeTrack, found: Sequence[Identified], infos: Sequence[MediaInfo | None]) -> list[int]:
    """Return the numbers of the tracks that match: all with `every`, else of the first."""
    pairs = _pairs(found[asked.source], infos[asked.source])
    wanted = KINDS.get(asked.track_type or "")
    numbers = [number for number, stream in pairs if wanted in {None, stream.kind} and asked.picks(stream)]
    return numbers if asked.every else numbers[:1]


def _pairs(found: Identified, info: MediaInfo | None) -> list[tuple[int, StreamInfo]]:
    """Return mkvmerge's number and ffprobe's stream of each track that both see as the same kind."""
    streams = {stream.index: stream for stream in info.streams} if info is not None else {}
    pairs = [(track, streams.get(track.number)) for track in found.tracks]
    return [(track.number, s) for track, s in pairs if s is not None and s.kind == KINDS.get(track.kind)]


def _there(found: Identified, info: MediaInfo | None) -> str:
    lines = []
    for number, stream in _pairs(found, info):
        language = bcp47(stream.language)
        more = [*([language] if language != UNKNOWN else []), *sorted(stream.dispositions)]
        described = f" ({', '.join(more)})" if more else ""
        lines.append(f"{number} {stream.kind} {stream.codec}{described}")
    return ", ".join(lines) or "none"
