"""The real length of a file: its packets, read once, against what it claims.

A container's figure may be a guess from bytes and bit rate, the difference of two clock values, or a header of a file
that was cut. Packets show what is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from worker.core.command import Command, Pipeline
from worker.core.errors import BadInput
from worker.media.ffmpeg.formats import GUARDS
from worker.media.hls.ladder import film_seconds
from worker.media.verify import DURATION_SLACK_SECONDS, DURATION_SLACK_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo

JUMP_SECONDS: Final = 10.0
"""ffmpeg's own bound (-dts_delta_threshold): a greater step is a clock that was set anew, and is taken as none."""
BACK_SECONDS: Final = 0.1
"""ffmpeg's own bound too: a clock that goes back by more was set anew, as by the second piece of a chained Ogg."""
MAX_JUMPS: Final = 1000
"""Jumps of one stream that are kept: a hostile file has one at each of its packets."""
AGREES_SECONDS: Final = 0.25
_STREAM_AGREES: Final = 0.05
"""The seconds that a stream of a transport or program stream may lack of its length: its last packets have no times."""
# Containers whose clocks may jump; ffmpeg joins their pieces (AVFMT_TS_DISCONT).
_CLOCKS: Final = frozenset({"mpegts", "mpeg", "ogg"})
# Containers without an index, or whose length is a guess or a claim of a header that anything may follow.
_UNCERTAIN: Final = _CLOCKS | {
    "flv", "live_flv", "h264", "hevc", "vvc", "mpegvideo", "m4v", "vc1", "av1", "obu", "mjpeg", "ivf", "yuv4mpegpipe",
    "dv", "wtv", "rm", "asf",
}  # fmt: skip
# Containers that state no length, so that a shorter file breaks no claim.
_SILENT: Final = _CLOCKS | {
    "h264", "hevc", "vvc", "mpegvideo", "m4v", "vc1", "av1", "obu", "mjpeg", "aac", "ac3", "eac3", "dts", "dtshd",
    "truehd", "mlp", "amr", "dv", "yuv4mpegpipe",
}  # fmt: skip
_GUESSED: Final = "Estimating duration from bitrate"
_FIELDS: Final = 5
LAST_PACKETS: Final = 3000
"""The packets that are read to see whether a file ends where it says: more than ten seconds of picture and sounds."""
BEYOND_SECONDS: Final = 1e7
"""A time behind the end of a film: a demuxer with an index goes back from it to the last key frame."""
_WRAP: Final = 2**33 / 90_000


@dataclass(frozen=True, slots=True)
class Jump:
    """A clock that was set anew: `at` seconds after the stream's begin, `by` seconds, negative for back."""

    at: float
    by: float

    def __str__(self) -> str:
        """Return `by 3600.0 s after 4.0 s`."""
        return f"{'back ' if self.by < 0 else ''}by {abs(self.by):.1f} s after {self.at:.1f} s"


@dataclass(slots=True)
class _Track:
    """The packets of one stream so far; times are seconds on a clock whose jumps are taken out."""

    jumps_count: bool
    first: float | None = None
    end: float | None = None
    packets: int = 0
    offset: float = 0.0
    expected: float | None = None
    jumps: list[Jump] = field(default_factory=list)

    def take(self, pts: float | None, dts: float | None, seconds: float) -> None:
        clock = dts if dts is not None else pts
        self.packets += 1
        if clock is None:
            # a raw stream has no timestamps: every picture follows the one before
            clock = pts = self.expected or 0.0
        step = 0.0 if self.expected is None else clock + self.offset - self.expected
        if self.jumps_count and (step > JUMP_SECONDS or step < -BACK_SECONDS):
            if len(self.jumps) < MAX_JUMPS:
                self.jumps.append(Jump((self.expected or 0.0) - (self.first or 0.0), _unwrapped_step(step)))
            self.offset -= step
        self.expected = clock + self.offset + seconds
        shown = (pts if pts is not None else clock) + self.offset
        self.first = shown if self.first is None else min(self.first, shown)
        self.end = shown + seconds if self.end is None else max(self.end, shown + seconds)


class Timeline:
    """The length of each stream, computed from the packets that ffprobe lists."""

    def __init__(self, info: MediaInfo) -> None:
        joined = bool(_CLOCKS & _names(info))
        timed = [s for s in info.streams if s.kind in {"video", "audio"} and not s.attached_picture]
        self._tracks: dict[str, _Track] = {str(stream.index): _Track(joined) for stream in timed}

    def line(self, text: str) -> None:
        """Take one packet: `stream,pts,dts,duration,flags`; discarded ones and lines of another kind are passed."""
        parts = text.split(",")
        track = self._tracks.get(parts[0])
        if track is None or len(parts) < _FIELDS or "D" in parts[4]:
            return
        track.take(_number(parts[1]), _number(parts[2]), _number(parts[3]) or 0.0)

    def after(self, lines: Iterable[str]) -> Self:
        """Return itself after these packets."""
        for line in lines:
            self.line(line)
        return self

    @property
    def seconds(self) -> float | None:
        """Return how long the file is, from the first begin to the last end; None without a packet."""
        starts = [track.first for track in self._tracks.values() if track.first is not None]
        ends = [track.end for track in self._tracks.values() if track.end is not None]
        return max(ends) - min(starts) if starts and ends else None

    @property
    def end(self) -> float | None:
        """Return when the last packet ends, on the file's own clock; None without a packet."""
        return max((track.end for track in self._tracks.values() if track.end is not None), default=None)

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """Return the jumps of the stream that has most of them."""
        every = [tuple(track.jumps) for track in self._tracks.values()]
        return max(every, key=len, default=())

    def lengths(self) -> Mapping[int, tuple[float, float]]:
        """Return begin and end of each stream that has packets, by its index."""
        return {
            int(index): (track.first, track.end)
            for index, track in self._tracks.items()
            if track.first is not None and track.end is not None
        }


def packets_command(ffprobe: str, path: Path, *, pictures_only: bool = False, entry: float | None = None) -> Pipeline:
    """Return the listing of a file's packets, a line each for `Timeline.line`; nothing is decoded.

    With `entry` only some after that time are listed, from the key frame before.
    """
    head: tuple[str, ...] = (ffprobe, "-hide_banner", "-v", "warning", *GUARDS)
    head += () if entry is None else ("-read_intervals", f"{max(0.0, entry):.6f}%+#{LAST_PACKETS}")
    chosen = ("-select_streams", "V:0") if pictures_only else ()
    shown = ("-show_entries", "packet=stream_index,pts_time,dts_time,duration_time,flags", "-of", "csv=p=0")
    return Pipeline((Command((*head, *chosen, *shown, "-i", f"file:{path}")),), label="length")


def is_uncertain(info: MediaInfo) -> bool:
    """Return whether the length that a file states must be measured: a guess, or sound, which costs little."""
    return (
        info.video is None
        or bool(_UNCERTAIN & _names(info))
        or film_seconds(info) is None
        or _starts_late(info)
        or _ends_after(info)
    )


def _starts_late(info: MediaInfo) -> bool:
    """Return whether a Matroska file without its streams' lengths starts late: its length may hold the gap or not."""
    said = all(any(key.upper().startswith("DURATION") for key in s.tags) for s in (*info.of_kind("video"), *info.audio))
    return "matroska" in info.container and info.start > AGREES_SECONDS and not said


def _ends_after(info: MediaInfo) -> bool:
    """Return whether a stream of an MP4 that begins late would end after its file: an edit list cuts off its end."""
    if "mov" not in info.container or info.duration is None:
        return False
    late = [stream for stream in (*info.of_kind("video"), *info.audio) if stream.start and stream.duration]
    ends = [(stream.start or 0.0) + (stream.duration or 0.0) for stream in late]
    return max(ends, default=0.0) > info.duration + AGREES_SECONDS


def corrected_info(info: MediaInfo, timeline: Timeline, said: str, name: str, *, unfinished: bool = False) -> MediaInfo:
    """Return `info` with the lengths that its packets have, where it stated none or others.

    `said` is what ffprobe wrote beside; the header of an `unfinished` file claims nothing. BadInput for a file that
    holds less than it states: it was cut short.
    """
    found = timeline.seconds
    if not found or found <= 0:
        raise BadInput(f"{name} is cut short: it holds no packet of picture or sound")
    stated, claim = film_seconds(info), _claimed_seconds(info)
    guessed = unfinished or _GUESSED in said
    if claim is not None and not _SILENT & _names(info) and not guessed and shorter(found, claim):
        raise BadInput(f"{name} is cut short: it states {claim:.2f} s and holds {found:.2f} s")
    # Ogg's last page may trim its packets, by less than that; a chained one states the length of its first piece
    agrees = stated is not None and abs(stated - found) <= AGREES_SECONDS
    if agrees and not timeline.jumps and not guessed and not _lacks_ends(info, timeline):
        # Matroska and MP4 count a file's length from zero, measured ones from the first packet
        return replace(info, measured=not {"matroska", "mp4"} & _names(info))
    return with_lengths_of(timeline, info)


def _claimed_seconds(info: MediaInfo) -> float | None:
    """Return the length that a file states; ffprobe takes the last time of a live FLV for it, wherever it begins."""
    claim = film_seconds(info)
    late = claim is not None and "flv" in _names(info) and AGREES_SECONDS < info.start < claim
    return claim - info.start if claim is not None and late else claim


def _lacks_ends(info: MediaInfo, timeline: Timeline) -> bool:
    """Return whether a stream of a clocked container states less than its packets last."""
    if not _CLOCKS - {"ogg"} & _names(info):
        return False
    lengths = timeline.lengths()
    said = [(stream.duration, lengths[stream.index]) for stream in info.streams if stream.index in lengths]
    return any(claim is not None and last - first - claim > _STREAM_AGREES for claim, (first, last) in said)


def shorter(found: float, claim: float) -> bool:
    """Return whether `found` seconds are less than `claim`, by more than muxers and encoders round."""
    return claim - found > DURATION_SLACK_SECONDS + claim * DURATION_SLACK_SHARE


def with_lengths_of(timeline: Timeline, info: MediaInfo) -> MediaInfo:
    """Return `info` with the lengths of its packets, whatever it states; itself where it has no packet."""
    lengths = timeline.lengths()
    if not lengths:
        return info
    start = min(first for first, _ in lengths.values())
    streams = tuple(_with_length(stream, lengths.get(stream.index)) for stream in info.streams)
    return replace(
        info, duration=timeline.seconds, start=start, streams=streams, measured=True, jumps=len(timeline.jumps)
    )


def _with_length(stream: StreamInfo, length: tuple[float, float] | None) -> StreamInfo:
    if length is None:
        return stream
    tags = {key: value for key, value in stream.tags.items() if not key.upper().startswith("DURATION")}
    return replace(stream, start=length[0], duration=length[1] - length[0], tags=tags)


def _unwrapped_step(step: float) -> float:
    """Return a step of a clock of 33 bits at 90 kHz the short way round."""
    return (step + _WRAP / 2) % _WRAP - _WRAP / 2


def _names(info: MediaInfo) -> set[str]:
    return set(info.container.split(","))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
