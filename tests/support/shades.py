"""Films whose pictures say by their shade of grey which second it is."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support.media import ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("-x264-params", "keyint=120:min-keyint=120:scenecut=0")
STEPS = "color=black:s=64x64:r=25:d=12,geq=lum='16+16*floor(T)':cb=128:cr=128"
"""A picture that is a shade lighter every second."""


def greys(picture: Path, *filters: str) -> bytes:
    """Return the pixels of a still as bytes of grey."""
    chain = ",".join([*filters, "format=gray"])
    argv = ("ffmpeg", "-v", "error", "-i", str(picture), "-vf", chain, "-f", "rawvideo", "-")
    return subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout


def level(picture: Path) -> int:
    """Return a still's mean grey, 0 to 255."""
    return greys(picture, "scale=1:1:flags=area")[0]


def shade(picture: Path) -> int:
    """Return the second that a still of `STEPS` shows."""
    return round(level(picture) * 219 / 255 / 16)


def steps(folder: Path, name: str) -> Path:
    """Return a film whose key frames are 4.8 s apart, in the container that its name says."""
    source, sound = folder / name, ("-f", "lavfi", "-i", "sine=d=12")
    coding = (
        ("-c:v", "mpeg2video", "-g", "120", "-bf", "2", "-sc_threshold", "1000000000")
        if name.endswith("mpg")
        else ("-c:v", "libx264", *KEYS)
    )
    heard = () if name.endswith("h264") else sound
    ffmpeg("-f", "lavfi", "-i", STEPS, *heard, *coding, "-shortest", str(source))
    return source
