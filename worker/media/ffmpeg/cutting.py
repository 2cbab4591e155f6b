"""A piece cut out of its sources: where reading begins, and where the output does.

ffmpeg's own `-ss` before an input enters a file where its container lets it. A transport or program stream, which has
no index, is entered anywhere, and its picture begins at the next key frame, seconds too late; in containers with an
index a copied sound begins with the key frame before, seconds too early. So a file is entered before the piece, and
the output is cut: what is encoded exactly, a copied picture at a key frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.formats import GUARDS, INDEXED, RAW_PICTURES
from worker.media.ffmpeg.options import seconds_of
from worker.media.hls.ladder import film_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo

FAR_SECONDS: Final = 20.0
"""The seconds before its time at which a file without an index is entered: key frames are seldom farther apart."""
NEAR_SECONDS: Final = 1.0
"""The seconds before its time at which a file with an index is entered; what comes before the output is dropped."""
_ROUNDING: Final = 0.0005
CUTS: Final = frozenset({"ss", "to", "t", "sseof"})
"""The input options that ask for a piece."""
# These change the clock, the end or the key frames of the input: ffmpeg alone knows what is cut then.
_LEFT_ALONE: Final = frozenset(
    {"itsoffset", "itsscale", "stream_loop", "accurate_seek", "seek_timestamp", "r", "framerate"}
)
_FIELDS: Final = 3
_BEYOND: Final = 0.5
"""The end of the listing of key frames: ffprobe takes an empty interval for none."""
_REORDERED: Final = 0.15
"""The seconds by which a picture may be decoded before it is shown, where the file does not state them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The cut of the sources: it begins at `start` seconds and lasts `length`, None for all that follows.

    Reading begins at `entry`. One that is `at_key` begins with a copied picture's key frame.
    """

    start: float
    length: float | None
    entry: float = 0.0
    at_key: bool = False

    @property
    def end(self) -> float | None:
        """Return the seconds at which it ends."""
        return None if self.length is None else self.start + self.length

    def input_options(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options before an input: those that cut nothing, and where reading begins."""
        kept = {name: value for name, value in others.items() if name not in CUTS}
        return kept | ({"ss": f"{self.entry:.6f}"} if self.entry > 0 else {})

    def output_arguments(self, copied: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the arguments before the output, which is cut; `copied` are its copied sounds and texts (`a:0`)."""
        lead = self.start - self.entry - (_ROUNDING if self.at_key else 0.0)
        begin: tuple[str, ...] = ("-ss", f"{lead:.6f}")
        if lead <= 0:
            begin = tuple(part for one in copied if self.start > 0 for part in (f"-copypriorss:{one}", "0"))
        return (*begin, *(("-t", f"{self.length:.6f}") if self.length is not None else ()))

    def promised(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """Return input options that ask for this piece, as a job would write them."""
        kept = {name: value for name, value in others.items() if name not in CUTS}
        return kept | {"ss": self.start} | ({"t": self.length} if self.length is not None else {})


def piece_of(options: Mapping[str, Any], infos: Sequence[MediaInfo], *, covers: bool = False) -> Piece | None:
    """Return the piece that input options ask for; None where they ask for none, or mean more than a piece.

    With `covers` a picture on a cover is taken, which ffmpeg (5.1 to 8) drops where an output begins later than its
    input.
    """
    if not options.keys() & {"ss", "sseof"} or options.keys() & _LEFT_ALONE or {"ss", "sseof"} <= options.keys():
        return None
    start = seconds_of(options.get("ss", 0))
    if "sseof" in options:
        back, seconds = seconds_of(options["sseof"]), film_seconds(infos[0]) if len(infos) == 1 else None
        start = max(0.0, seconds + back) if back is not None and seconds is not None else None
    if start is None or start < 0:
        return None
    length, end = seconds_of(options["t"]) if "t" in options else None, seconds_of(options.get("to", "inf"))
    if length is None and end is not None:
        length = max(0.0, end - start)
    return Piece(start, length, max(0.0, start - _lead(start, infos, covers=covers)))


def _lead(start: float, infos: Sequence[MediaInfo], *, covers: bool) -> float:
    """Return how long before `start` the sources are entered."""
    if any(info.jumps or RAW_PICTURES & set(info.container.split(",")) for info in infos):
        # without a clock ffmpeg cannot seek
        return start
    if any(info.video is not None and not has_index(info) for info in infos):
        return FAR_SECONDS
    # Matroska keeps a cover as an attachment, which has no start time
    return 0.0 if covers and not all("matroska" in info.container for info in infos) else NEAR_SECONDS


def begun_at(piece: Piece, key: Key) -> Piece:
    """Return the piece that begins at a key frame before its start, and ends where it did."""
    start = max(0.0, min(key.dts, piece.start))
    length = None if piece.length is None else piece.length + piece.start - start
    return Piece(start, length, max(0.0, start - (piece.start - piece.entry)), at_key=True)


def has_index(info: MediaInfo) -> bool:
    """Return whether a container says where its key frames are."""
    return bool(INDEXED & set(info.container.split(",")))


def keys_command(ffprobe: str, path: Path, start: float | None, end: float) -> Pipeline:
    """Return the listing of a picture's packets between two times on the file's own clock, for `LastKey`."""
    # genpts: pictures of program streams may have no time of their own
    head = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-fflags", "+genpts", "-select_streams", "V:0")
    # ffprobe cannot seek in a raw picture, not even to its start
    interval = f"{'' if start is None else f'{start:.6f}'}%{end + _BEYOND:.6f}"
    shown = ("-read_intervals", interval, "-show_entries", "packet=pts_time,dts_time,flags", "-of", "csv=p=0")
    return Pipeline((Command((*head, *shown, "-i", f"file:{path}")),), label="key frames")


@dataclass(frozen=True, slots=True)
class Key:
    """The times at which a key frame is shown and decoded, by which ffmpeg cuts a copy."""

    pts: float
    dts: float


class LastKey:
    """The last key frame at or before `time`, in seconds from `origin`, of the lines that `keys_command` writes."""

    def __init__(self, time: float, origin: float) -> None:
        self._most, self._origin = time + _ROUNDING, origin
        self.found: Key | None = None

    def line(self, text: str) -> None:
        """Take one packet: `pts,dts,flags`."""
        parts = text.split(",")
        if len(parts) < _FIELDS or not parts[2].startswith("K"):
            return
        shown = _number(parts[0])
        if shown is None or shown - self._origin > self._most:
            return
        decoded = _number(parts[1])
        decoded = shown - _REORDERED if decoded is None else min(decoded, shown)
        if self.found is None or shown - self._origin > self.found.pts:
            self.found = Key(shown - self._origin, decoded - self._origin)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
