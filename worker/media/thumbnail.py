"""One picture of a film: at a time, or the most representative of its beginning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from worker.core.command import Command
from worker.core.job import Model, Place
from worker.media.colours import JPEG
from worker.media.ffmpeg.formats import GUARDS, INDEXED, RAW_PICTURES, own_clock
from worker.media.hls.ladder import Size, even_number
from worker.media.selection import FIRST_PICTURE, picture_specifier
from worker.media.verify import DAMAGE_MEANING, Damage

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import MediaInfo

ENCODERS: Final = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png", ".webp": "libwebp"}
LOOKED_AT: Final = 100
"""The number of frames from which the most typical one is chosen."""
NEAR_SECONDS: Final = 20.0
ROUNDING_SECONDS: Final = 0.0005
_TICKS: Final = re.compile(r"Parsed_showinfo_\d+ @ \S+\] n: *\d+ pts: *(-?\d+) ")


def _picture(place: str) -> str:
    if PurePosixPath(place).suffix.lower() not in ENCODERS:
        raise ValueError(f"must end in one of {', '.join(ENCODERS)}")
    return place


class ThumbnailParams(Model):
    """The choice of a picture, and its size."""

    source: Place = Field(description="The film.")
    output_file: Annotated[Place, AfterValidator(_picture)] = Field(description="The picture: .jpg, .png or .webp.")
    time: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Seconds from the start; by default the most representative picture near the first tenth."
    )
    width: Annotated[int, Field(ge=16, le=8192)] | None = Field(None, description="The greatest width.")
    height: Annotated[int, Field(ge=16, le=8192)] | None = Field(None, description="The greatest height.")
    damage: Damage = Field("refuse", description=DAMAGE_MEANING)
    overwrite: bool = Field(default=False, description="Whether a file of that name may be replaced.")


def thumbnail_size(source: Size, params: ThumbnailParams) -> Size:
    """Return the picture's size: within the sides that were asked for, in the film's shape, never above it."""
    wide = Fraction(params.width, source.width) if params.width else Fraction(1)
    high = Fraction(params.height, source.height) if params.height else Fraction(1)
    factor = min(Fraction(1), wide, high)
    return Size(even_number(source.width * factor), even_number(source.height * factor))


@dataclass(frozen=True, slots=True)
class Moment:
    """The time at which reading starts and the time of the picture, in seconds from the film's begin.

    `seek` None reads from the first packet; then `time` None means the first picture that there is. `picture` is its
    stream, `clock` what leaves the film on its own clock.
    """

    seek: float | None
    time: float | None
    picture: str = FIRST_PICTURE
    clock: tuple[str, ...] = ()


def moments(time: float, info: MediaInfo) -> tuple[Moment, ...]:
    """Return the ways to reach the last picture at or before `time`, the cheapest first.

    A container with an index is entered at the key frame before. Others are entered somewhere near, where decoding
    may begin at the next key frame only, past the picture: then from farther away, and from the begin at last.
    """
    names = set(info.container.split(","))
    far = (time,) if INDEXED & names else () if RAW_PICTURES & names else (time - NEAR_SECONDS,)
    picture = picture_specifier(info)
    clock = own_clock(info)
    seeks = tuple(Moment(seek, time, picture, clock) for seek in far if seek > 0)
    return (*seeks, Moment(None, time, picture, clock), Moment(None, None, picture, clock))


def _input_arguments(ffmpeg: str, source: Path, moment: Moment, level: str) -> list[str]:
    # An accurate seek would drop the picture that is shown at the time when it begins before that time.
    seek = [] if moment.seek is None else ["-noaccurate_seek", "-ss", f"{moment.seek:.6f}"]
    head = [ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-v", level, "-y", *GUARDS, *moment.clock]
    return [*head, *seek, "-i", f"file:{source}", "-map", moment.picture]


def search_command(ffmpeg: str, source: Path, moment: Moment) -> Command:
    """Return the decoding up to a moment; `last_picture` reads from its words which picture is shown then."""
    end = "" if moment.time is None else f"trim=end={moment.time - (moment.seek or 0.0) + ROUNDING_SECONDS:.6f},"
    count = ("-frames:v", "1") if moment.time is None else ()
    graph = f"{end}showinfo=checksum=0"
    return Command((*_input_arguments(ffmpeg, source, moment, "info"), "-vf", graph, *count, "-f", "null", "-"))


def last_picture(said: str) -> int | None:
    """Return the time of the last picture that the search met, in ticks of its own clock; None when it met none."""
    found = _TICKS.findall(said)
    return int(found[-1]) if found else None


def thumbnail_command(
    ffmpeg: str, source: Path, target: Path, size: Size, moment: Moment, ticks: int | None, filters: tuple[str, ...]
) -> Command:
    """Return the command that writes the picture at `ticks`, or the most representative one after where reading starts.

    `filters` come before the scaling (deinterlacing, tone mapping).
    """
    choose = [f"thumbnail=n={LOOKED_AT}"] if ticks is None else [f"select=gte(pts\\,{ticks})"]
    pixels = JPEG if ENCODERS[target.suffix.lower()] == "mjpeg" else ("format=rgb24",)
    # a picture's field partner may be needed to deinterlace it, so it is chosen behind
    graph = ",".join([*filters, *choose, f"scale={size.width}:{size.height}", "setsar=1", *pixels])
    coding = ("-c:v", ENCODERS[target.suffix.lower()], *(("-q:v", "3") if target.suffix.lower() != ".png" else ()))
    written = ("-f", "image2", "-update", "1", f"file:{target}")
    return Command(
        (*_input_arguments(ffmpeg, source, moment, "warning"), "-vf", graph, "-frames:v", "1", *coding, *written)
    )
