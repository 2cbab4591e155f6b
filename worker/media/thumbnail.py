"""One picture of a film: at a time, or the most telling of its beginning."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from worker.core.command import Command
from worker.core.job import Model, Place
from worker.media.ffmpeg.formats import GUARDS
from worker.media.hls.ladder import Size, even

ENCODERS: Final = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png", ".webp": "libwebp"}
LOOKED_AT: Final = 100
"""Frames among which the most telling is sought."""


def _picture(place: str) -> str:
    if PurePosixPath(place).suffix.lower() not in ENCODERS:
        raise ValueError(f"must end in one of {', '.join(ENCODERS)}")
    return place


class ThumbnailParams(Model):
    """Which picture, and how large."""

    source: Place = Field(description="The film.")
    output_file: Annotated[Place, AfterValidator(_picture)] = Field(description="The picture: .jpg, .png or .webp.")
    time: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Seconds from the start; by default the most telling picture near the first tenth."
    )
    width: Annotated[int, Field(ge=16, le=8192)] | None = Field(None, description="The greatest width.")
    height: Annotated[int, Field(ge=16, le=8192)] | None = Field(None, description="The greatest height.")
    overwrite: bool = Field(default=False, description="Whether a file of that name may be replaced.")


def thumbnail_size(source: Size, params: ThumbnailParams) -> Size:
    """Return the picture's size: within the wished sides, in the film's shape, never above it."""
    wide = Fraction(params.width, source.width) if params.width else Fraction(1)
    high = Fraction(params.height, source.height) if params.height else Fraction(1)
    factor = min(Fraction(1), wide, high)
    return Size(even(source.width * factor), even(source.height * factor))


def thumbnail_command(ffmpeg: str, source: Path, target: Path, size: Size, seek: float, *, exact: bool) -> Command:
    """Return the command that writes the picture at `seek` seconds, or, unless `exact`, the most telling after it."""
    choose = [] if exact else [f"thumbnail=n={LOOKED_AT}"]
    pixels = "yuvj420p" if ENCODERS[target.suffix.lower()] == "mjpeg" else "rgb24"
    graph = ",".join([*choose, f"scale={size.width}:{size.height}", "setsar=1", f"format={pixels}"])
    return Command(
        (
            ffmpeg, "-nostdin", "-hide_banner", "-v", "warning", "-y", *GUARDS, "-ss", f"{seek:.3f}",
            "-i", f"file:{source}", "-map", "0:V:0", "-vf", graph, "-frames:v", "1",
            "-c:v", ENCODERS[target.suffix.lower()], *(("-q:v", "3") if target.suffix.lower() != ".png" else ()),
            "-f", "image2", "-update", "1", f"file:{target}",
        )
    )  # fmt: skip
