"""Small pictures for a seek bar: sprite sheets, a WebVTT that maps times to tiles, and an image playlist."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from worker.media.colours import JPEG
from worker.media.hls.ladder import Size, Timing, even_number
from worker.media.hls.playlists import MediaPlaylist, Segment, target_of
from worker.media.measure import Rate
from worker.media.webvtt import Cue

if TYPE_CHECKING:
    from pathlib import Path

LONG_SIDE: Final = 240
COLUMNS: Final = 5
ROWS: Final = 5
MAX_TILES: Final = 250


@dataclass(frozen=True, slots=True)
class StoryboardPlan:
    """The making of a storyboard: every `step`-th key frame is a tile of `tile` pixels that stands for `seconds`."""

    tile: Size
    step: int
    seconds: Fraction
    tiles: int
    duration: Fraction

    @property
    def sheets(self) -> int:
        """Return how many sheets there are."""
        return math.ceil(self.tiles / (COLUMNS * ROWS))


@dataclass(frozen=True, slots=True)
class Storyboard:
    """A storyboard that was made: `sizes` are the bytes of its sheets, in order."""

    plan: StoryboardPlan
    sizes: tuple[int, ...]

    @property
    def tile(self) -> Size:
        """Return the size of one picture."""
        return self.plan.tile

    @property
    def rate(self) -> Rate:
        """Return the bits a second that loading it while playing takes: of its heaviest sheet, and of all."""
        durations = [segment.duration for segment in image_playlist(self.plan).segments]
        peak = max(8 * size / duration for size, duration in zip(self.sizes, durations, strict=True))
        return Rate(math.ceil(peak), math.ceil(8 * sum(self.sizes) / sum(durations)))


def storyboard_plan(size: Size, timing: Timing) -> StoryboardPlan:
    """Return the plan for a film of `timing` whose renditions have the shape of `size`: at most 250 tiles."""
    keys = math.ceil(timing.frames / timing.gop)
    step = math.ceil(keys / MAX_TILES)
    factor = Fraction(LONG_SIDE, max(size.width, size.height))
    tile = Size(even_number(size.width * factor), even_number(size.height * factor))
    return StoryboardPlan(tile, step, timing.gop_seconds * step, math.ceil(keys / step), timing.duration)


def sheet_name(number: int) -> str:
    """Return the file of the sheet `number`, from 1."""
    return f"sheet_{number:03d}.jpg"


def storyboard_argv(
    plan: StoryboardPlan, ffmpeg: str, source: Path, folder: Path, filters: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the argv that writes the sheets from a rendition, of which only the key frames are decoded.

    `filters` bring the colours of each tile to those of SDR.
    """
    tile = plan.tile
    chosen = (f"select='not(mod(n,{plan.step}))'", f"scale={tile.width}:{tile.height}:flags=area", "setsar=1")
    graph = ",".join([*chosen, *filters, *JPEG, f"tile={COLUMNS}x{ROWS}"])
    return (
        ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y",
        "-skip_frame", "nokey", "-i", f"file:{source}", "-map", "0:v:0", "-vf", graph,
        "-fps_mode", "passthrough", "-c:v", "mjpeg", "-q:v", "5", "-f", "image2", "-start_number", "1",
        f"file:{folder / 'sheet_%03d.jpg'}",
    )  # fmt: skip


def poster_argv(ffmpeg: str, source: Path, target: Path, keys: int, filters: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the argv that writes the most typical of a rendition's first key frames: the nearest to their average.

    `filters` bring its colours to those of SDR.
    """
    # the thumbnail filter outputs eight bits a colour, too few for tone mapping, so that comes first
    graph = ",".join([*filters, f"thumbnail=n={max(2, min(50, keys))}", *JPEG])
    return (
        ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y",
        "-skip_frame", "nokey", "-i", f"file:{source}", "-map", "0:v:0", "-vf", graph,
        "-frames:v", "1", "-c:v", "mjpeg", "-q:v", "3", "-f", "image2", "-update", "1", f"file:{target}",
    )  # fmt: skip


def sheet_cues(plan: StoryboardPlan) -> tuple[Cue, ...]:
    """Return one cue a tile: its text is the sheet and the tile's place on it, as a media fragment (#xywh=)."""
    return tuple(_cue(plan, index) for index in range(plan.tiles))


def _cue(plan: StoryboardPlan, index: int) -> Cue:
    sheet, place = divmod(index, COLUMNS * ROWS)
    row, column = divmod(place, COLUMNS)
    width, height = plan.tile.width, plan.tile.height
    start = float(index * plan.seconds)
    end = float(min((index + 1) * plan.seconds, plan.duration))
    return Cue(start, end, f"{sheet_name(sheet + 1)}#xywh={column * width},{row * height},{width},{height}")


def image_playlist(plan: StoryboardPlan) -> MediaPlaylist:
    """Return the image playlist (EXT-X-IMAGES-ONLY, EXT-X-TILES), which players with a Roku-like seek bar read."""
    whole = plan.seconds * COLUMNS * ROWS
    durations = [float(min(whole, plan.duration - whole * number)) for number in range(plan.sheets)]
    segments = tuple(Segment(sheet_name(number + 1), seconds) for number, seconds in enumerate(durations))
    tiles = {
        "RESOLUTION": str(plan.tile),
        "LAYOUT": f"{COLUMNS}x{ROWS}",
        "DURATION": f"{float(plan.seconds):.3f}",
    }
    return MediaPlaylist(segments, target_of(durations), tiles=tiles, version=7)
