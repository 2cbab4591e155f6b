"""What parts have in common, out of the bytes of their MP4s."""

from __future__ import annotations

import io
import subprocess
from typing import TYPE_CHECKING

import pytest

from worker.media.parts.headers import shared_headers

if TYPE_CHECKING:
    from pathlib import Path


def _headers(folder: Path, seconds: int, *options: str) -> tuple[bytes, ...] | None:
    path = folder / "part.mp4"
    picture = ("-f", "lavfi", "-i", f"testsrc2=s=64x64:r=25:d={seconds}", "-pix_fmt", "yuv420p")
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "stitchable=1")
    subprocess.run(("ffmpeg", "-v", "error", "-y", *picture, *x264, *options, str(path)), check=True)
    with path.open("rb") as file:
        return shared_headers(file)


def test_parts_of_one_film_have_one_header_and_others_another(tmp_path):
    one = _headers(tmp_path, 2)
    assert one is not None
    assert _headers(tmp_path, 3) == one
    # ffmpeg 5 takes the colours of the option, ffmpeg 7 those of the frames.
    colours = ("-vf", "setparams=color_trc=bt709", "-color_trc", "bt709")
    for other in (colours, ("-vf", "setsar=2"), ("-video_track_timescale", "50"), ("-refs", "4")):
        assert _headers(tmp_path, 2, *other) != one


def test_each_track_of_a_part_has_its_own(tmp_path):
    both = _headers(tmp_path, 2, "-map", "0:v", "-map", "0:v", "-s:v:1", "32x32")
    assert both is not None
    assert len(set(both)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\x08moov",
        b"\0\0\0\x10moov\0\0\0\xfftrak",
        b"\0\0\0\x10moov\0\0\0\x08trak",
        b"\0\0\0\1moov" + b"\xff" * 8,
    ],
)
def test_a_file_that_is_no_part_has_no_headers(content):
    assert shared_headers(io.BytesIO(content)) is None
