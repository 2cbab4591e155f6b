"""The times at which the pictures of a stream are shown, read from its packets without decoding one."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from worker.core.spans import Span

_STANDARD: Final = (
    *(Fraction(number) for number in (24, 25, 30, 48, 50, 60, 100, 120)),
    *(Fraction(number * 1000, 1001) for number in (24, 30, 48, 60, 120)),
)
_MARGIN: Final = Fraction(1, 1_000_000)
SAFE_KEYS_BACK: Final = 2
"""Decoding begins so many key frames before the cut: an open GOP needs the one before, and a seek may be late."""
CLOSED_KEYS_BACK: Final = 1
"""The same for closed GOPs of a file with an index: a picture that is refreshed bit by bit is whole one key later."""

MAX_PICTURES: Final = 1_500_000
"""More than a day holds at 17 pictures a second, and all whose times a worker keeps: a file may claim any number."""
MAX_PLACES: Final = 200_000
"""Key frames whose places are kept; for a later one parts seek as in a file without an index."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The pictures of a stream in the order they are shown, `times` in seconds, `keys` those where decoding can begin.

    `rate` is constant: picture n is shown n/rate seconds after the first, as exactly as `tick` can say it. Decoding
    begins `keys_back` key frames before the one that a picture needs, or at that one where it is among the `clean`.
    `places` are the bytes, by the time in ticks, of key frames that a seek finds exactly.
    """

    rate: Fraction
    tick: Fraction
    times: tuple[Fraction, ...]
    keys: tuple[Fraction, ...]
    keys_back: int = SAFE_KEYS_BACK
    places: Mapping[int, Span] = field(default_factory=dict)
    clean: frozenset[Fraction] = frozenset()

    @property
    def frames(self) -> int:
        """Return how many pictures there are."""
        return len(self.times)

    def before(self, frame: int) -> Fraction | None:
        """Return a moment between a picture and the one before it; None at either end of the film."""
        if frame <= 0 or frame >= self.frames:
            return None
        return (self.times[frame - 1] + self.times[frame]) / 2

    def seek(self, frame: int) -> Fraction | None:
        """Return where to seek for a picture: a key frame, with others between if need be; None for the start."""
        earlier = bisect_right(self.keys, self.times[frame])
        back = 0 if earlier and self.keys[earlier - 1] in self.clean else self.keys_back
        return self.keys[earlier - 1 - back] if earlier > back else None

    def entries(self, frames: Iterable[int]) -> dict[Fraction, Span]:
        """Return the last key frames at or before each of these pictures, and where their bytes are, if that is known.

        It is found for those alone that parts need: a film may have nothing but key frames.
        """
        earlier = {bisect_right(self.keys, self.times[frame]) for frame in frames}
        keys = [self.keys[count - 1] for count in earlier if count]
        return {key: self.places[at] for key in keys if (at := int(key / self.tick)) in self.places}

    def at_keys(self, cuts: Sequence[int], shortest: float) -> tuple[int, ...]:
        """Return the cuts, each moved to the nearest key frame: a part that begins with one decodes nothing in vain.

        None moves by more than a quarter of the shorter part beside it, or leaves less than `shortest` pictures there.
        """
        shown = [bisect_left(self.times, key) for key in self.keys if key <= self.times[-1]]
        keys = [frame for frame, key in zip(shown, self.keys, strict=False) if self.times[frame] == key]
        moved = list(cuts)
        for index in range(1, len(cuts) - 1):
            cut, before, after = cuts[index], moved[index - 1], cuts[index + 1]
            room = min(cut - cuts[index - 1], after - cut) // 4
            at = bisect_left(keys, cut)
            near = min(keys[max(0, at - 1) : at + 1], key=lambda frame: abs(frame - cut), default=cut)
            if abs(near - cut) <= room and near - before >= shortest and after - near >= shortest:
                moved[index] = near
        return tuple(moved)


@dataclass(slots=True)
class PacketReader:
    """Takes ffprobe's lines of one stream, or of all; `timeline` says what the packets of `stream` are together.

    `has_index` says that the file names the places of its key frames, so that a seek is never late. All is counted in
    ticks of the stream: a film has hundreds of thousands of packets. Of `most` pictures the times are kept.
    """

    stream: int
    has_index: bool = False
    most: int = MAX_PICTURES
    counts: dict[int, int] = field(default_factory=dict)
    _tick: Fraction | None = None
    _stated: list[Fraction] = field(default_factory=list)
    _shown: array[int] = field(default_factory=lambda: array("q"))
    _keys: array[int] = field(default_factory=lambda: array("q"))
    _coded: array[int] = field(default_factory=lambda: array("q"))
    _places: dict[int, Span] = field(default_factory=dict)
    _untimed: bool = False
    _is_open: bool = False

    def line(self, text: str) -> None:
        """Take one line."""
        kind, _, values = text.partition("|")
        if kind == "packet":
            given, _, rest = values.partition("|")
            if not (number := given.removeprefix("stream_index=")).isdigit():
                return
            index = int(number)
            self.counts[index] = self.counts.get(index, 0) + 1
            if index == self.stream and self.counts[index] <= self.most:
                self._packet(_facts(rest))
        elif kind == "stream" and int((facts := _facts(values)).get("index", -1)) == self.stream:
            self._stream(facts)

    def _packet(self, facts: dict[str, str]) -> None:
        coded = facts.get("dts", "")
        if coded.lstrip("-").isdigit():
            self._coded.append(int(coded))
        given, flags = facts.get("pts", ""), facts.get("flags", "")
        if not given.lstrip("-").isdigit():
            self._untimed = True
            return
        pts = int(given)
        if "K" in flags:
            self._keys.append(pts)
            is_placed = len(self._places) < MAX_PLACES
            if is_placed and (place := facts.get("pos", "")).isdigit() and (size := facts.get("size", "")).isdigit():
                self._places[pts] = (int(place), int(place) + int(size))
        elif self._keys and pts < self._keys[-1]:
            # It is shown before the key frame that it is coded after, and may lean on what is before that.
            self._is_open = True
        # What an edit list leaves out is decoded and never shown.
        if "D" not in flags:
            self._shown.append(pts)

    def _stream(self, facts: dict[str, str]) -> None:
        over, _, under = facts.get("time_base", "").partition("/")
        if over.isdigit() and under.isdigit() and int(over) and int(under):
            self._tick = Fraction(int(over), int(under))
        for name in ("avg_frame_rate", "r_frame_rate"):
            over, _, under = facts.get(name, "").partition("/")
            if over.isdigit() and under.isdigit() and int(over) and int(under):
                self._stated.append(Fraction(int(over), int(under)))

    def uneven(self, rate: Fraction) -> bool:
        """Return whether two pictures in decoding order are not one picture apart, as exactly as the file can say."""
        tick = self._tick or Fraction(1)
        steps = {after - before for before, after in pairwise(self._coded)}
        return any(abs(step * tick - 1 / rate) > tick + _MARGIN for step in steps)

    def timeline(self) -> Timeline | str:
        """Return when the pictures are shown, or why they cannot be counted; of a long film that takes seconds."""
        if self.counts.get(self.stream, 0) > self.most:
            return f"it has more than {self.most:,} pictures"
        if self._tick is None or self._untimed or not self._shown:
            return "the source does not say when its pictures are shown"
        shown = sorted(self._shown)
        keys = sorted(set(self._keys))
        if len(set(shown)) != len(shown):
            return "two pictures of the source have one time"
        if not keys or keys[0] > shown[0]:
            return "the source begins with pictures that lean on what is not there"
        rate = self._rate(shown)
        if rate is None:
            return "the frame rate of the source is not constant"
        times = tuple(pts * self._tick for pts in shown)
        back = CLOSED_KEYS_BACK if self.has_index and not self._is_open else SAFE_KEYS_BACK
        places = self._places if self.has_index else {}
        return Timeline(rate, self._tick, times, tuple(key * self._tick for key in keys), back, places)

    def _rate(self, shown: list[int]) -> Fraction | None:
        """Return the rate whose grid all pictures lie on, as exactly as the time base can say it."""
        if len(shown) == 1:
            return self._stated[0] if self._stated else None
        tick = self._tick or Fraction(1)
        mean = (len(shown) - 1) / ((shown[-1] - shown[0]) * tick)
        near = [rate for rate in _STANDARD if abs(rate / mean - 1) < Fraction(1, 500)]
        # A ratio such as 27648000/921677 is a mean of rounded times, and no rate.
        # Of a short film several rates are true: what the source states comes first.
        stated = [rate for rate in self._stated if rate in _STANDARD]
        for rate in dict.fromkeys([*stated, *near, *self._stated]):
            if _is_grid(shown, tick, rate):
                return rate
        return None


def _facts(values: str) -> dict[str, str]:
    return dict([value.split("=", 1) for value in values.split("|") if "=" in value])


def _is_grid(shown: Sequence[int], tick: Fraction, rate: Fraction) -> bool:
    """Return whether picture n is shown n/rate seconds after the first, as exactly as ticks can say it."""
    over, under = (tick * rate).as_integer_ratio()
    most = int((tick + _MARGIN) * rate * under)
    return all(abs((pts - shown[0]) * over - index * under) <= most for index, pts in enumerate(shown))


def packets_command(ffprobe: str, path: Path, stream: int | None = None) -> Pipeline:
    """Return the reading of a stream's packets with their places, or of all; `PacketReader` takes its lines."""
    places, chosen = ("", ()) if stream is None else ("pos,size,", ("-select_streams", str(stream)))
    shown = f"packet=stream_index,pts,dts,{places}flags:stream=index,time_base,avg_frame_rate,r_frame_rate"
    argv = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-of", "compact", *chosen)
    return Pipeline((Command((*argv, "-show_entries", shown, "-i", f"file:{path}")),), label="packets")


def side_data_command(ffprobe: str, path: Path, stream: int) -> Pipeline:
    """Return the question for what the first picture of a stream carries beside itself."""
    argv = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-of", "compact", "-select_streams", str(stream))
    entries = "frame_side_data=side_data_type:stream_side_data=side_data_type"
    asked = ("-read_intervals", "%+#1", "-show_entries", entries, "-i", f"file:{path}")
    return Pipeline((Command((*argv, *asked)),), label="side data")
