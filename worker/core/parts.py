"""One job as parts that several workers make: the plan, its parts, and the rules of who makes which when."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import Field

from worker.core.job import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PARTS_FOLDER: Final = ".parts"
"""The folder, beside the outputs of a job, that its parts are in until they are joined."""
FRAMES: Final = "frames"
"""The name of parts that are ranges of frames; others, the sound, have their own names and no range."""
SHORTEST_SECONDS: Final = 2.0
USUAL_SECONDS: Final = (10.0, 60.0)
PARTS_PER_WORKER: Final = 3
LONG_SECONDS: Final = 600.0
"""A film so long is divided for one worker too: what was made before a restart is not made again."""
MAX_PARTS: Final = 2000
_KEY_LETTERS: Final = 32


class PartLength(Model):
    """The length of the parts."""

    seconds: float = Field(ge=SHORTEST_SECONDS, le=3600, description="Seconds of film in a part, about.")


Division: TypeAlias = Literal["auto", "never"] | PartLength
"""`auto` divides a job when it pays, `off` never, an object into parts of so many seconds."""


@dataclass(frozen=True, slots=True)
class Part:
    """The frames `[first, last)` of the output, or with another `name` what is no frames; `details` are the task's.

    `key` names its file: equal keys hold equal contents. A `shared` one serves all others, and is made with the plan.
    """

    index: int
    key: str
    first: int = 0
    last: int = 0
    name: str = FRAMES
    suffix: str = ".mp4"
    shared: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Return how many frames it has; 0 where it is no range."""
        return self.last - self.first

    @property
    def file(self) -> str:
        """Return the name of its file."""
        return self.key + self.suffix


@dataclass(frozen=True, slots=True)
class Plan:
    """All parts of a job: the ranges of frames in order, complete, without overlap and without an empty one.

    `task` is the index of the divided task, `identity` what all keys have in common, `build` the program that makes
    every part; `details` are the task's own. ValueError for a plan that breaks this.
    """

    task: int
    frames: int
    identity: str
    build: str
    parts: tuple[Part, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a plan with a gap, an overlap or an empty part."""
        if [part.index for part in self.parts] != list(range(len(self.parts))):
            raise ValueError("the parts are not numbered from 0 in order")
        end = 0
        for part in self.ranges:
            if part.first != end:
                raise ValueError(f"part {part.index} begins at frame {part.first}, not at {end}")
            if part.last <= part.first:
                raise ValueError(f"part {part.index} is empty")
            end = part.last
        if end != self.frames or not self.ranges:
            raise ValueError(f"the parts end at frame {end} of {self.frames}")
        if len({part.key for part in self.parts}) != len(self.parts):
            raise ValueError("two parts have one key")

    @property
    def ranges(self) -> tuple[Part, ...]:
        """Return the parts that are ranges of frames, in order."""
        return tuple(part for part in self.parts if part.name == FRAMES)

    def named(self, name: str) -> tuple[Part, ...]:
        """Return the parts of a name."""
        return tuple(part for part in self.parts if part.name == name)

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return document

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """Return the plan that `document` returned."""
        parts = tuple(Part(**item) for item in document["parts"])
        return cls(**{**document, "parts": parts})


@dataclass(frozen=True, slots=True)
class Whole:
    """The job is not divided, and why, as its record says it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers for the parts: how many living ones serve the lane, and whether all of them see the storage."""

    workers: int = 1
    shared_storage: bool = True


def identity_of(*facts: object) -> str:
    """Return what all keys of a plan have in common, from what decides the bytes of its parts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def part_key(identity: str, name: str, first: int = 0, last: int = 0) -> str:
    """Return the key of a part."""
    text = f"{identity}:{name}:{first}:{last}"
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LETTERS]


def part_id(job_id: str, index: int) -> str:
    """Return the id of a part's row: `film.p0007`."""
    return f"{job_id}.p{index:04d}"


def copy_id(job_id: str) -> str:
    """Return the id of the row of a part's second copy: `film.p0007.2`."""
    return f"{job_id}.2"


def part_seconds(seconds: float, fleet: Fleet, division: Division) -> float | None:
    """Return how many seconds of film a part shall have; None where dividing does not pay."""
    if division == "never":
        return None
    if isinstance(division, PartLength):
        return division.seconds
    if fleet.workers < 2 and seconds < LONG_SECONDS:  # noqa: PLR2004 - one worker gains nothing by parts
        return None
    shortest, longest = USUAL_SECONDS
    wanted = seconds / (PARTS_PER_WORKER * max(1, fleet.workers))
    return max(SHORTEST_SECONDS, min(longest, max(shortest, wanted)))


def bounds(frames: int, rate: Fraction, seconds: float, multiple: int = 1) -> tuple[int, ...]:
    """Return where parts of about `seconds` begin, and the end: 0, …, `frames`; cuts are multiples of `multiple`.

    No part but an only one is shorter than half of the others or than two seconds; there are at most `MAX_PARTS`.
    """
    multiple = max(1, multiple)
    wanted = Fraction(max(seconds, SHORTEST_SECONDS)) * rate
    wanted = max(wanted, Fraction(frames, MAX_PARTS))
    step = max(1, -(-wanted.numerator // (wanted.denominator * multiple))) * multiple
    shortest = max(step // 2, 1)
    cuts = [0, *range(step, frames, step)]
    if len(cuts) > 1 and frames - cuts[-1] < max(shortest, SHORTEST_SECONDS * rate):
        cuts.pop()
    return (*cuts, frames)


def even_bounds(frames: int, count: int, multiple: int = 1) -> tuple[int, ...]:
    """Return where `count` parts of about one length begin, and the end: 0, …, `frames`; cuts are multiples.

    Each cut is the multiple next to where an even share ends, so that a part is off its share by `multiple` at most.
    """
    count, multiple = min(max(1, count), MAX_PARTS), max(1, multiple)
    cuts = {(2 * frames * number + count * multiple) // (2 * count * multiple) * multiple for number in range(count)}
    return (*sorted(cut for cut in cuts if cut < frames), frames)


def with_short_end(cuts: Sequence[int], rate: Fraction, fleet: Fleet, multiple: int = 1) -> tuple[int, ...]:
    """Return the cuts with one part for each worker halved, the last ones, where halves are not below ten seconds.

    The short ones are given out last: whoever had easy scenes takes one more, and all end at about one moment.
    """
    count = fleet.workers if fleet.workers > 1 else 0
    found = set(cuts)
    for first, last in list(pairwise(cuts))[-count:] if count else []:
        middle = first + (last - first) // (2 * multiple) * multiple
        if min(middle - first, last - middle) >= USUAL_SECONDS[0] * rate and len(found) <= MAX_PARTS:
            found.add(middle)
    return tuple(sorted(found))


def in_order(parts: Iterable[Part]) -> list[Part]:
    """Return the parts as they are given out: what is no range first, for nobody can share it; then the longest."""
    return sorted(parts, key=lambda part: (part.name == FRAMES, -part.frames, part.index))
