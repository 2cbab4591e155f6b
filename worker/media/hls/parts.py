"""A presentation in parts: which pictures of the source a part takes, and the commands of a part and of the join."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command
from worker.core.parts import FRAMES, Part, bounds, part_key
from worker.media.ffmpeg.encoders import encoder_named
from worker.media.ffmpeg.formats import GUARDS
from worker.media.hls.encode import (
    HEAD,
    SLACK_FRAMES,
    Encoding,
    picture_graph,
    picture_options,
    timescale,
    tone_mapping,
)
from worker.media.parts.commands import LIST_GUARDS, entry_arguments, part_details, trim_filters
from worker.media.parts.refusal import ENCODERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from worker.media.hls.encode import Picture
    from worker.media.hls.plan import Plan
    from worker.media.parts.timeline import Timeline

OTHERS: Final = "sound"
"""The part that holds every sound, and every text that is copied out of the source."""
OTHERS_SUFFIX: Final = ".tar"
_HALF: Final = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Grid:
    """The places of the renditions' frames among the pictures of the source.

    The first `lead` frames repeat the first picture, and the last `tail` the last one.
    """

    timeline: Timeline
    frames: int
    lead: int
    tail: int


def refusal(plan: Plan) -> str | None:
    """Return why a presentation is not divided, None when nothing so far forbids it."""
    if plan.picture is None:
        return "no picture is encoded"
    for rendition in plan.picture.renditions:
        if rendition.encoder not in ENCODERS:
            return f"the parts of {rendition.encoder} are not joined"
    if plan.picture.deinterlace:
        return "the picture is deinterlaced, which looks at more than one picture"
    return None


def grid_of(timeline: Timeline, picture: Picture, start: Fraction) -> Grid | str:
    """Return the places of the frames for a source whose clock begins at `start` seconds, or why they are unknown."""
    rate, frames = picture.timing.frame_rate, picture.timing.frames
    if timeline.rate != rate:
        return f"the source shows {timeline.rate} pictures a second, and its renditions {rate}"
    # ffmpeg's filter `fps` gives a picture to the nearest frame: all of them must go the same way, and surely so.
    places = [(time - start) * rate - index for index, time in enumerate(timeline.times)]
    doubt = timeline.tick * rate
    lead = floor(min(places) + _HALF - doubt)
    if lead < 0 or floor(max(places) + _HALF + doubt) != lead:
        return "pictures lie halfway between two frames of the renditions"
    tail = max(0, frames - lead - timeline.frames)
    if tail > round(Fraction(picture.pad) * rate) + SLACK_FRAMES:
        return "the source has fewer pictures than its length promises"
    return Grid(timeline, frames, lead, tail)


def cuts_of(picture: Picture, seconds: float) -> tuple[int, ...]:
    """Return where parts of about `seconds` begin, and the end: each has a whole number of segments but the last."""
    timing = picture.timing
    return bounds(timing.frames, timing.frame_rate, seconds, timing.gop * timing.gops)


def ranges(
    grid: Grid,
    cuts: Sequence[int],
    identity: str,
    needed: Callable[[Timeline, int, int], Mapping[str, Any]] | None = None,
) -> list[Part]:
    """Return the parts between `cuts`; [] where one would have no picture.

    `needed` says what pictures from one to another need of their source.
    """
    timeline = grid.timeline
    if cuts[1] <= grid.lead or cuts[-2] - grid.lead >= timeline.frames:
        return []
    parts = []
    for index, (first, last) in enumerate(pairwise(cuts)):
        begin, end = max(0, first - grid.lead), min(timeline.frames, last - grid.lead)
        details: dict[str, Any] = {**part_details(timeline.before(begin), timeline.before(end), timeline.seek(begin))}
        details |= needed(timeline, begin, end) if needed else {}
        details["lead"] = max(0, grid.lead - first)
        details["tail"] = max(0, last - grid.lead - timeline.frames)
        parts.append(Part(index, part_key(identity, FRAMES, first, last), first, last, details=details))
    return parts


def part_command(encoding: Encoding, part: Part, ffmpeg: str, output: Path) -> Command:
    """Return the encoding of one part: all renditions of its frames with one decode, as the tracks of one MP4."""
    picture = encoding.picture
    if picture is None:
        raise ValueError("a part of a presentation has a picture")
    rate = picture.timing.frame_rate
    held = [f"{end}={count}:{end}_mode=clone" for end, count in _repeats(part) if count]
    chain = [
        *trim_filters(part),
        f"settb={rate.denominator}/{rate.numerator}",
        "setpts=N",
        f"fps={rate}",
        *([f"tpad={':'.join(held)}"] if held else []),
        *([tone_mapping(picture.tone_map)] if picture.tone_map else []),
    ]
    outputs: list[str] = []
    for index in range(len(picture.renditions)):
        outputs += ["-map", f"[v{index}]"]
    for index, rendition in enumerate(picture.renditions):
        outputs += picture_options(encoding, rendition, track=index)
    return Command(
        (
            ffmpeg, *HEAD, "-copyts", *GUARDS, *entry_arguments(part), "-i", f"file:{encoding.source}",
            "-filter_complex", ";".join(picture_graph(picture, chain)), *outputs,
            "-video_track_timescale", str(timescale(rate)), "-map_metadata", "-1", "-map_chapters", "-1",
            "-f", "mp4", f"file:{output}",
        )
    )  # fmt: skip


def _repeats(part: Part) -> tuple[tuple[str, int], ...]:
    return ("start", part.details["lead"]), ("stop", part.details["tail"])


def join_command(encoding: Encoding, parts_list: Path, ffmpeg: str, folder: Path) -> Command:
    """Return the join: each rendition's track of all parts, copied into the MP4 that a whole run would have encoded."""
    picture = encoding.picture
    if picture is None:
        raise ValueError("a join of a presentation has a picture")
    argv = [ffmpeg, *HEAD, *LIST_GUARDS, "-f", "concat", "-safe", "0", "-auto_convert", "0"]
    argv += ["-i", f"file:{parts_list}"]
    for index, rendition in enumerate(picture.renditions):
        tag = ("-tag:v", "hvc1") if encoder_named(rendition.encoder).coding == "hevc" else ()
        argv += ["-map", f"0:v:{index}", "-c", "copy", *tag]
        argv += ["-video_track_timescale", str(timescale(picture.timing.frame_rate))]
        argv += ["-map_metadata", "-1", "-map_chapters", "-1", "-f", "mp4", f"file:{folder / f'{rendition.name}.mp4'}"]
    return Command(tuple(argv))


def others_of(encoding: Encoding) -> Sequence[str]:
    """Return the names of the files that the part of the sound holds."""
    count = len(encoding.picture.renditions) if encoding.picture else 0
    return encoding.outputs[count:]
