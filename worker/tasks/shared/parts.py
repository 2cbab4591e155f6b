"""Rules that all divided films share: when dividing pays, when pictures are shown, and the list of the parts."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from worker.core.command import Pipeline
from worker.core.errors import ToolFailed
from worker.core.media_info import MediaInfo
from worker.core.parts import SHORTEST_SECONDS, Whole, part_seconds
from worker.media.failure import classify, failed_stage
from worker.media.parts.commands import concat_list
from worker.media.parts.entries import is_clean
from worker.media.parts.excerpt import places_command
from worker.media.parts.headers import shared_headers
from worker.media.parts.proof import check_alike, check_part, headers, headers_command, part_facts, part_proof_command
from worker.media.parts.refusal import side_data_refusal
from worker.media.parts.timeline import PacketReader, Timeline, packets_command, side_data_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    from worker.core.parts import Division, Fleet, Part, Plan
    from worker.core.spans import Span
    from worker.core.task import TaskContext
    from worker.tasks.shared.excerpts import RemoteSource

TOO_SHORT: Final = "it is too short for two parts"
_INDEXED: Final = frozenset({"mp4", "matroska"})
_MAX_KNOWN: Final = 1 << 16


def build_of(version: str) -> str:
    """Return which ffmpeg `ffmpeg -version` describes, short, and different where anything in it differs."""
    first = version.partition(" Copyright")[0].replace("version ", "")
    return f"{first[:60]} ({hashlib.sha256(version.encode()).hexdigest()[:8]})"


class Builds:
    """The ffmpeg build of a worker, asked once: parts of two builds are not joined."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    async def of(self, context: TaskContext) -> str:
        """Return the build of this worker's ffmpeg."""
        ffmpeg = context.tool("ffmpeg")
        if ffmpeg not in self._known:
            (answer,) = await context.run(Pipeline.of(ffmpeg, "-version"))
            if not answer.ok:
                raise ToolFailed(str(answer))
            self._known[ffmpeg] = build_of(answer.output)
        return self._known[ffmpeg]


def known_sources(infos: Sequence[MediaInfo]) -> dict[str, Any]:
    """Return what the sources of a plan are, for its details, so that no part reads it again; {} where it is much."""
    documents = [info.document() for info in infos]
    try:
        length = len(json.dumps(documents, allow_nan=False))
    except ValueError:
        # A length that is no number: no database takes it.
        return {}
    return {"sources": documents} if length <= _MAX_KNOWN else {}


def sources_of(plan: Plan) -> list[MediaInfo] | None:
    """Return what `known_sources` kept; None where it kept nothing."""
    documents = plan.details.get("sources")
    return None if documents is None else [MediaInfo.of(document) for document in documents]


def wanted_seconds(seconds: float, fleet: Fleet, division: Division) -> float | Whole:
    """Return how many seconds of a film a part shall have, or why it has no parts."""
    length = part_seconds(seconds, fleet, division)
    if length is None:
        return Whole("the job says never" if division == "never" else "one worker makes it as soon")
    if not fleet.shared_storage:
        return Whole("only one host sees the storage")
    if 0 < seconds < length + SHORTEST_SECONDS / 2:
        return Whole(TOO_SHORT)
    return length


async def read_timeline(
    path: Path, stream: int, container: str, context: TaskContext, remote: RemoteSource | None = None
) -> Timeline | Whole:
    """Return when the pictures of a source are shown, or why it is not divided; nothing is decoded.

    Of a `remote` one the places of the packets are read too.
    """
    lines: list[str] = []
    exits = await context.run(side_data_command(context.tool("ffprobe"), path, stream), lines.append)
    if bad := failed_stage(exits):
        raise classify(bad)
    if reason := side_data_refusal(lines):
        return Whole(reason)
    reader = PacketReader(stream, has_index=bool(_INDEXED & set(container.split(","))))
    if remote is None:
        await read_packets(packets_command(context.tool("ffprobe"), path, stream), reader, context)
    else:
        question = places_command(context.tool("ffprobe"), path, stream)
        await read_packets(question, Both(reader, remote.packets), context)
    timeline = await asyncio.to_thread(reader.timeline)
    return Whole(timeline) if isinstance(timeline, str) else timeline


async def with_clean_entries(
    timeline: Timeline, frames: Sequence[int], path: Path, info: MediaInfo, stream: int
) -> Timeline:
    """Return the timeline of a source that knows at which key frames the parts that begin at `frames` may enter it."""
    # A seek goes by one stream, and lands where it is entered: that may be late for another picture.
    if len(info.of_kind("video")) > 1:
        return timeline
    codec = next(one.codec for one in info.streams if one.index == stream)
    clean = await asyncio.to_thread(_clean, path, timeline.entries(frames), codec, info.container)
    return replace(timeline, clean=clean)


def _clean(path: Path, places: Mapping[Fraction, Span], codec: str, container: str) -> frozenset[Fraction]:
    with path.open("rb") as file:
        return frozenset(key for key, place in places.items() if is_clean(file, place, codec, container))


class Lines(Protocol):
    """Takes the lines of a program."""

    def line(self, text: str) -> None:
        """Take one line."""
        ...


@dataclass(frozen=True, slots=True)
class Both:
    """Gives each line to two readers."""

    first: Lines
    second: Lines

    def line(self, text: str) -> None:
        """Take one line."""
        self.first.line(text)
        self.second.line(text)


async def read_packets(pipeline: Pipeline, reader: Lines, context: TaskContext) -> None:
    """Return once `reader` has all lines of a `packets_command`."""
    exits = await context.run(pipeline, reader.line)
    if bad := failed_stage(exits):
        raise classify(bad)


async def prove_part(path: Path, part: Part, rate: Fraction, pictures: int, context: TaskContext) -> None:
    """Return if each of the pictures in a part's file is what was planned; VerificationFailed otherwise."""
    for track in range(pictures):
        (answer,) = await context.run(part_proof_command(context.tool("ffprobe"), path, track))
        check_part(part_facts(answer, rate), part)


async def joinable(plan: Plan, rate: Fraction, paths: Mapping[int, Path], context: TaskContext) -> Path:
    """Return the list of the parts of a film for ffmpeg's concat demuxer; VerificationFailed where they do not join."""
    if not await asyncio.to_thread(_are_alike, [paths[part.index] for part in plan.ranges]):
        found = []
        for part in plan.ranges:
            (answer,) = await context.run(headers_command(context.tool("ffprobe"), paths[part.index]))
            found.append((part, headers(answer)))
        check_alike(found)
    listing = context.scratch("parts.ffconcat")
    listing.write_text(concat_list(plan, rate, paths))
    return listing


def _are_alike(paths: Sequence[Path]) -> bool:
    """Return whether the headers of all parts are the same bytes; others may still mean the same."""
    kinds = set()
    for path in paths:
        with path.open("rb") as file:
            kinds.add(shared_headers(file))
    return len(kinds) == 1 and None not in kinds
