"""The proof that a part is what its plan says, and that the join is the film."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command, Pipeline
from worker.core.errors import VerificationFailed
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.command import Exit
    from worker.core.parts import Part, Plan
    from worker.media.parts.timeline import PacketReader

_ALIKE: Final = (
    "codec_name", "profile", "width", "height", "pix_fmt", "time_base", "extradata_hash", "extradata_size",
    "sample_aspect_ratio", "color_range", "color_space", "color_transfer", "color_primaries", "chroma_location",
    "has_b_frames", "start_pts",
)  # fmt: skip
"""The properties that all parts of a film share, as ffprobe reports them; the headers of the codec are among them."""


@dataclass(frozen=True, slots=True)
class PartFacts:
    """The packets of a part: how many, whether the first is a key frame, whether they are one step apart."""

    packets: int
    begins: bool
    even: bool


def part_proof_command(ffprobe: str, path: Path, track: int = 0) -> Pipeline:
    """Return the question for what `part_facts` reads of one of the pictures in a part's file."""
    argv = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-of", "json=compact=1", "-select_streams", f"v:{track}")
    entries = ("-show_data_hash", "sha256", "-show_streams", "-show_entries", "packet=pts,dts,flags")
    return Pipeline((Command((*argv, *entries, "-i", f"file:{path}")),), capture_bytes=64 << 20, label="part")


def part_facts(answer: Exit, rate: Fraction) -> PartFacts:
    """Return what a part says of itself; VerificationFailed where it says nothing."""
    try:
        document = json.loads(answer.output)
        stream, packets = document["streams"][0], document["packets"]
        over, _, under = str(stream["time_base"]).partition("/")
        step = Fraction(int(under), int(over)) / rate
        shown = sorted(int(packet["pts"]) for packet in packets)
        coded = [int(packet["dts"]) for packet in packets]
    except (ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        raise VerificationFailed(f"a part cannot be read: {answer}") from error
    even = all(pts == round(index * step) for index, pts in enumerate(shown))
    even = even and all(after - before == step for before, after in pairwise(coded))
    begins = bool(packets) and "K" in packets[0]["flags"] and packets[0]["pts"] == shown[0]
    return PartFacts(len(packets), begins, even)


def headers_command(ffprobe: str, path: Path) -> Pipeline:
    """Return the question for what `headers` reads; no packet is read, for the part was proved when it was made."""
    argv = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-of", "json=compact=1", "-select_streams", "v")
    asked = ("-show_data_hash", "sha256", "-show_streams", "-i", f"file:{path}")
    return Pipeline((Command((*argv, *asked)),), capture_bytes=1 << 20, label="part")


def headers(answer: Exit) -> tuple[Mapping[str, Any], ...]:
    """Return what parts share, of each picture in a part's file; VerificationFailed where it says nothing."""
    try:
        return tuple({name: stream.get(name) for name in _ALIKE} for stream in json.loads(answer.output)["streams"])
    except (ValueError, KeyError, AttributeError) as error:
        raise VerificationFailed(f"a part cannot be read: {answer}") from error


def check_part(facts: PartFacts, part: Part) -> None:
    """Return when a part has its pictures, all of them, in their places; VerificationFailed otherwise."""
    faults = []
    if facts.packets != part.frames:
        faults.append(f"it has {facts.packets} pictures instead of {part.frames}")
    if not facts.begins:
        faults.append("it does not begin with a key frame")
    if not facts.even:
        faults.append("its pictures are not one step apart")
    if faults:
        raise VerificationFailed(f"part {part.index} is not what was planned: {'; '.join(faults)}")


def check_alike(parts: Sequence[tuple[Part, Sequence[Mapping[str, Any]]]]) -> None:
    """Return when all parts have the headers, colours and time bases of the first; VerificationFailed otherwise."""
    first, wanted = parts[0]
    for part, found in parts[1:]:
        if len(found) != len(wanted):
            raise VerificationFailed(f"part {part.index} has {len(found)} pictures instead of {len(wanted)}")
        pairs = list(zip(wanted, found, strict=True))
        if different := [name for name in _ALIKE if any(one[name] != other[name] for one, other in pairs)]:
            raise VerificationFailed(
                f"part {part.index} differs from part {first.index} in {', '.join(different)}: they do not join"
            )


def check_join(reader: PacketReader, plan: Plan, rate: Fraction, name: str) -> None:
    """Return when the joined film has every picture, one step apart; VerificationFailed otherwise."""
    found = reader.timeline()
    if isinstance(found, str):
        raise VerificationFailed(f"{name} is not what its parts are: {found}")
    faults = []
    if found.frames != plan.frames:
        faults.append(f"it has {found.frames} pictures instead of {plan.frames}")
    if found.rate != rate and plan.frames > 1:
        faults.append(f"it shows {found.rate} pictures a second instead of {rate}")
    if reader.uneven(rate):
        faults.append("its pictures are not one step apart")
    if faults:
        raise VerificationFailed(f"{name} is not what its parts are: {'; '.join(faults)}")


def check_sound(joined: PacketReader, positions: Sequence[int], sound: PacketReader, name: str) -> None:
    """Return when each joined sound has every packet of the sound that was encoded; VerificationFailed otherwise."""
    for position, (_, packets) in zip(positions, sorted(sound.counts.items()), strict=True):
        found = joined.counts.get(position, 0)
        if found != packets:
            raise VerificationFailed(f"{name}: stream {position} has {found} packets of sound instead of {packets}")
