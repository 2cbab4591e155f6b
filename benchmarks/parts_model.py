"""What N workers need for a film in parts: costs that were measured, the real plan, and a clock of its own."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from worker.core.parts import Fleet, PartLength, bounds, part_seconds, with_short_end

if TYPE_CHECKING:
    from worker.core.parts import Division

RATE: Final = Fraction(25)
GOP: Final = 50
HOURS_SECONDS: Final = 7200
MINUTES_SECONDS: Final = 180
WORKERS: Final = (1, 2, 4, 8, 16, 32, 64, 100, 200, 400, 1000)
MESSAGE_SECONDS: Final = 0.1
"""From the end of a part to the next one's start: a record, an ack, a delivery and a claim."""


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds that a step takes: `base` whatever the film is, and `frame` for each frame of it."""

    base: float
    frame: float

    def of(self, frames: int) -> float:
        """Return the seconds for a film."""
        return self.base + self.frame * frames

    @classmethod
    def through(cls, small: tuple[int, float], large: tuple[int, float]) -> Line:
        """Return the line through two measurements, frames and seconds; neither cost is below nothing."""
        slope = max(0.0, (large[1] - small[1]) / (large[0] - small[0]))
        return cls(max(0.0, large[1] - slope * large[0]), slope)


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: of a frame encoded, of each part beside its frames; and the plan, the join, the sound.

    A whole run takes the frames and the sound.
    """

    frame: float
    part: float
    plan: Line
    join: Line
    sound: Line

    def whole(self, frames: int) -> float:
        """Return the seconds of a whole run by one worker."""
        return frames * (self.frame + self.sound.frame)


@dataclass(slots=True)
class Spans:
    """How long each step of one film in parts took; `parts` are frames and seconds, 0 frames the sound.

    It was cut before the frames `cuts`.
    """

    plan: float = 0.0
    join: float = 0.0
    frames: int = 0
    parts: list[tuple[int, float]] = field(default_factory=list)
    cuts: tuple[int, ...] = ()

    @property
    def sound(self) -> float:
        """Return how long the sound took."""
        return sum(seconds for count, seconds in self.parts if not count)

    def costs(self, short: Spans, long: Spans, whole: float) -> Costs:
        """Return the costs, where a whole run took `whole` seconds a frame with its sound.

        The plan, the join and the sound are measured by two other films, a short one and a long one.
        """
        plan, join, sound = (
            Line.through((short.frames, small), (long.frames, large))
            for small, large in ((short.plan, long.plan), (short.join, long.join), (short.sound, long.sound))
        )
        frame = whole - sound.frame
        return Costs(frame, self._beside(frame), plan, join, sound)

    def plain_costs(self, whole: float) -> Costs:
        """Return the costs of this film alone: its join and its sound count by the frame, its plan does not."""
        join, sound = (Line(0.0, seconds / self.frames) for seconds in (self.join, self.sound))
        frame = whole - sound.frame
        return Costs(frame, self._beside(frame), Line(self.plan, 0.0), join, sound)

    def _beside(self, frame: float) -> float:
        """Return what a range took beside its frames."""
        ranges = [(count, seconds) for count, seconds in self.parts if count]
        return max(0.0, sum(seconds - count * frame for count, seconds in ranges) / len(ranges))


@dataclass(frozen=True, slots=True)
class Measured:
    """Wall seconds by the number of workers, 0 for the whole run by one; and the costs."""

    walls: dict[int, float]
    costs: Costs


def simulated(frames: int, workers: int, costs: Costs, division: Division) -> tuple[float, int]:
    """Return how many seconds the workers need from plan to join, and of how many parts."""
    length = part_seconds(frames / float(RATE), Fleet(workers), division)
    if length is None:
        return costs.whole(frames), 1
    cuts = bounds(frames, RATE, length, GOP)
    if division == "auto":
        cuts = with_short_end(cuts, RATE, Fleet(workers), GOP)
    work = sorted((costs.part + (last - first) * costs.frame for first, last in pairwise(cuts)), reverse=True)
    free = [costs.plan.of(frames)] * workers
    heapq.heapify(free)
    end = 0.0
    for seconds in (costs.sound.of(frames), *work):
        done = heapq.heappop(free) + MESSAGE_SECONDS + seconds
        end = max(end, done)
        heapq.heappush(free, done)
    return end + MESSAGE_SECONDS + costs.join.of(frames), len(work)


def by_two(spans: Spans) -> float:
    """Return how many seconds two workers need for what one did: the plan, its parts in their order, the join."""
    free = [spans.plan] * 2
    for _, seconds in spans.parts:
        heapq.heapreplace(free, free[0] + MESSAGE_SECONDS + seconds)
    return max(free) + MESSAGE_SECONDS + spans.join


def bend(frames: int, costs: Costs) -> int:
    """Return the fewest workers beside whom twice as many gain less than a quarter."""
    for workers in (2**power for power in range(11)):
        now, then = (simulated(frames, count, costs, "auto")[0] for count in (workers, workers * 2))
        if then > now * 0.8:
            return workers
    return WORKERS[-1]


def print_minutes(costs: Costs) -> None:
    """Print what a film of three minutes would take."""
    frames = MINUTES_SECONDS * 25
    one, two = (simulated(frames, count, costs, PartLength(seconds=30))[0] for count in (1, 2))
    share, times = one / costs.whole(frames), costs.whole(frames) / two
    print(f"\nA frame takes {costs.frame * 1000:.1f} ms, a part {costs.part:.2f} s beside its frames. Three minutes in")
    print(f"parts of 30 s: one worker needs {share:.3f} of the whole run's time; two are {times:.2f} times as fast.")


def print_model(seconds: int, part: float, measured: Measured) -> None:
    """Print the model beside what was measured, then its curve."""
    costs = measured.costs
    print(
        f"\nIn seconds of CPU: a frame takes {costs.frame * 1000:.1f} ms, a part {costs.part:.2f} s beside its frames."
    )
    for name, line in (("plan", costs.plan), ("join", costs.join), ("sound", costs.sound)):
        print(f"The {name} takes {line.base:.2f} s, and {line.frame * 1000:.2f} ms a frame.")
    print()
    print("| workers | model s | measured s |\n|---|---|---|")
    division = PartLength(seconds=part)
    for count in (1, 2):
        print(f"| {count} | {simulated(seconds * 25, count, costs, division)[0]:.1f} | {measured.walls[count]:.1f} |")
    print_minutes(costs)
    frames = HOURS_SECONDS * 25
    print(
        "\n| workers | parts | a film of two hours, minutes | times as fast as one worker, whole |\n|---|---|---|---|"
    )
    for count in WORKERS:
        took, parts = simulated(frames, count, costs, "auto")
        print(f"| {count} | {parts} | {took / 60:.1f} | {costs.whole(frames) / took:.1f} |")
    print(f"\nIt bends at {bend(frames, costs)} workers: then the plan and the join, which one worker does, and the "
          f"shortest part that is made (10 s of film) are most of the time.")  # fmt: skip
