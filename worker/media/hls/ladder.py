"""The ladder of a source: sizes, frame rate, length, and the ordered set of renditions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.core.media_info import MediaInfo, StreamInfo

RUNGS: Final = (2160, 1440, 1080, 720, 480, 360, 240)
"""Short sides of a derived ladder, the greatest first."""

FASTEST: Final = 60
SLOWEST: Final = Fraction(1, 1001)
STANDARD_RATES: Final = tuple(
    Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60")
)
KEYFRAME_SECONDS: Final = 2
"""Apple's HLS authoring specification 1.13: an IDR frame every two seconds."""
MIN_SEGMENT: Final = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in square pixels."""

    width: int
    height: int

    @property
    def short(self) -> int:
        """Return the shorter side."""
        return min(self.width, self.height)

    @property
    def pixels(self) -> int:
        """Return the area."""
        return self.width * self.height

    def __str__(self) -> str:
        """Return `1280x720`."""
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Timing:
    """The pace of the output: an exact frame rate, and lengths in frames, so that all renditions agree.

    `frames` is the length of the whole film, `gop` that of a group of pictures, `gops` groups make a segment.
    """

    frame_rate: Fraction
    gop: int
    gops: int
    frames: int

    @property
    def duration(self) -> Fraction:
        """Return the film's length in seconds."""
        return self.frames / self.frame_rate

    @property
    def gop_seconds(self) -> Fraction:
        """Return the distance of two key frames in seconds."""
        return self.gop / self.frame_rate

    @property
    def segment_seconds(self) -> Fraction:
        """Return a full segment's length in seconds."""
        return self.gop_seconds * self.gops


@dataclass(frozen=True, slots=True)
class Rendition:
    """One encoding of the picture.

    `name` is unique in its ladder and safe as a folder's name; `encoder` is ffmpeg's name. Either `bitrate_bps`
    or `quality` (a constant rate factor, where None means the encoder's usual one) steers it; `peak_bps` caps both.
    """

    name: str
    size: Size
    encoder: str
    peak_bps: int
    bitrate_bps: int | None = None
    quality: float | None = None


def even_number(value: Fraction | float) -> int:
    """Return the even number nearest to `value`, at least 2; 4:2:0 pictures have even sides."""
    return max(2, 2 * round(value / 2))


def display_size(video: StreamInfo) -> Size:
    """Return the size in square pixels as a viewer sees it: pixels squared, then turned upright."""
    width, height = video.width or 0, video.height or 0
    wide = width * (video.sample_aspect or Fraction(1))
    size = Size(max(1, round(wide)), height)
    return Size(size.height, size.width) if video.rotation in {90, 270} else size


def scaled_size(source: Size, short: int) -> Size:
    """Return `source` scaled to the short side `short`, never above itself, both sides even."""
    factor = min(Fraction(1), Fraction(short, source.short))
    return Size(_side(source.width * factor, source.width), _side(source.height * factor, source.height))


def boxed_size(source: Size, box: Size) -> Size:
    """Return `source` scaled into `box`, which turns with a portrait source; never above itself, sides even."""
    if (source.width < source.height) != (box.width < box.height):
        box = Size(box.height, box.width)
    factor = min(Fraction(1), Fraction(box.width, source.width), Fraction(box.height, source.height))
    return Size(_side(source.width * factor, source.width), _side(source.height * factor, source.height))


def _side(value: Fraction, most: int) -> int:
    """Return an even side; an odd source loses a line rather than gains one."""
    side = even_number(value)
    return side - 2 if side > most and side > 2 else side  # noqa: PLR2004  # 2 is the least even side


def output_rate(video: StreamInfo) -> Fraction:
    """Return the constant frame rate to make: at most 60, halved from above it, a standard one where it is near.

    A variable rate shows as an odd average; the next standard rate above it keeps every picture. Slow sources
    (screen captures, slide shows) keep theirs, and below one picture a second repeat each: players wait for ever for
    pictures that are farther apart (shaka-player 4, hls.js 1.7).
    """
    rate = video.frame_rate or Fraction(25)
    if rate <= 0:
        return Fraction(25)
    while rate > FASTEST * Fraction(1001, 1000):
        rate /= 2
    near = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    if abs(near - rate) * 1000 <= rate:
        return near
    if rate < STANDARD_RATES[0]:
        # A damaged header may state a rate of one picture in weeks.
        rate = max(rate.limit_denominator(SLOWEST.denominator), SLOWEST)
        return rate * max(1, math.ceil(1 / rate))
    return min((standard for standard in STANDARD_RATES if standard >= rate), default=STANDARD_RATES[-1])


def stream_end(stream: StreamInfo, info: MediaInfo) -> float | None:
    """Return when a stream ends, in seconds from the start of the file's first stream; None when unknown.

    Matroska states in its tags when a stream ends, on its own clock, where others state how long it is.
    """
    tag = _duration_tag(stream)
    if "matroska" in info.container and tag is None and info.measured and stream.duration is not None:
        return (stream.start or 0.0) - info.begin + stream.duration
    if "matroska" in info.container:
        end = clock_seconds(tag) if tag else stream.duration
        return None if end is None else end - info.begin
    return None if stream.duration is None else (stream.start or 0.0) - info.begin + stream.duration


def _duration_tag(stream: StreamInfo) -> str | None:
    """Return what a stream's tag says of its end; one with a language (mkvmerge 5) may be left from another file."""
    found = {key.upper(): value for key, value in stream.tags.items() if key.upper().startswith("DURATION")}
    return found.get("DURATION", next(iter(found.values()), None))


def clock_seconds(text: str) -> float | None:
    """Return the seconds of `00:01:02.5`, or None when it is none."""
    try:
        hours, minutes, seconds = text.strip().split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def stream_seconds(stream: StreamInfo, info: MediaInfo) -> float | None:
    """Return how long a stream lasts from its own start, on whatever clock its container counts; None when unknown."""
    end = stream_end(stream, info)
    start = stream.start if stream.start is not None else info.begin
    return None if end is None else min(end, end - (start - info.begin))


def film_seconds(info: MediaInfo) -> float | None:
    """Return the film's length: until the last picture or sound ends; None when it is unknown."""
    streams = [stream for stream in (info.video, *info.audio) if stream is not None]
    ends = [stream_end(stream, info) for stream in streams]
    known = [end for end in ends if end is not None and end > 0]
    if known and len(known) == len(streams):
        return max(known)
    if info.duration is None:
        return max(known, default=None)
    absolute = not info.measured and ("matroska" in info.container or "mp4" in info.container)
    whole = info.duration - (info.begin if absolute and info.begin > 0 else 0.0)
    # mkvmerge's figure begins with the first packet, ffmpeg's with zero: one that no start fits into says nothing
    return max([whole, *known], default=None) if whole > 0 else max(known, default=None)


def timing(video: StreamInfo, seconds: float, segment_seconds: float) -> Timing:
    """Return the output's timing for a film of `seconds`, in segments of about `segment_seconds`.

    A segment is a whole number of GOPs of two seconds or the nearest that divides it. Where the last segment would be
    a scrap, the GOP is a few frames longer or shorter: hls.js 1.7 waits for ever for one of 0.04 s.
    """
    rate = output_rate(video)
    gops = max(1, round(segment_seconds / KEYFRAME_SECONDS))
    usual = max(1, round(rate * Fraction(segment_seconds).limit_denominator(1000) / gops))
    frames = max(1, round(Fraction(seconds).limit_denominator(1_000_000) * rate))
    least = rate * MIN_SEGMENT
    near = sorted(range(max(1, usual * 11 // 12), usual * 13 // 12 + 1), key=lambda gop: abs(gop - usual))
    gop = next((gop for gop in near if not 0 < frames % (gop * gops) < least), usual)
    return Timing(rate, gop, gops, frames)


def even_segments(duration: Fraction, segment_seconds: float) -> Fraction:
    """Return the length of segments of sound alone, such that the last one is not much shorter than the others."""
    usual = Fraction(segment_seconds).limit_denominator(1000)
    if duration < usual or not 0 < duration % usual < MIN_SEGMENT:
        return usual
    return duration / (duration // usual)


def usual_peak(size: Size, frame_rate: Fraction) -> int:
    """Return the peak bits a second of H.264 at a good quality: 5.5 Mbit/s at 1080p30.

    Bits grow with the area to the power 0.8 and with the frame rate to the power 0.6, which fits the tiers of
    Apple's HLS authoring specification (table of 1.8) within a fifth from 234p to 2160p.
    """
    area = math.pow(size.pixels / (1920 * 1080), 0.8)
    speed = math.pow(float(frame_rate) / 30, 0.6)
    return max(150_000, round(5_500_000 * area * max(speed, 0.6) / 10_000) * 10_000)


def derived_sizes(source: Size) -> tuple[Size, ...]:
    """Return the sizes of a ladder for `source`, the greatest first: the rungs below it, none above.

    A source that is well above its nearest rung (or below all of them) is a rung itself.
    """
    sizes = [scaled_size(source, rung) for rung in RUNGS if rung <= source.short]
    tallest = sizes[0].short if sizes else 0
    if source.short * 10 > tallest * 12:
        sizes.insert(0, scaled_size(source, source.short))
    return tuple(sizes[:1]) + tuple(lower for upper, lower in pairwise(sizes) if lower != upper)
