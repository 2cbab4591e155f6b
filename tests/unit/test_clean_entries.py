"""Key frames where decoding can begin with nothing before them, and cuts that are moved to key frames."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.media.parts.entries import is_clean
from worker.media.parts.timeline import PacketReader, Timeline, packets_command

if TYPE_CHECKING:
    from pathlib import Path


def _entries(folder: Path, name: str, *options: str) -> list[bool]:
    """Return of each key frame but the first whether decoding may begin at it."""
    path = folder / name
    inputs = ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=3")
    subprocess.run((*inputs, "-pix_fmt", "yuv420p", *options, str(path)), check=True)
    asked = ("ffprobe", "-v", "error", "-of", "default=nk=1:nw=1", "-show_entries")
    question = (*asked, "stream=codec_name:format=format_name", str(path))
    codec, container = subprocess.run(question, check=True, capture_output=True, text=True).stdout.split()
    reader = PacketReader(0, has_index=True)
    (command,) = packets_command("ffprobe", path, 0).stages
    for line in subprocess.run(command.argv, check=True, capture_output=True, text=True).stdout.splitlines():
        reader.line(line)
    found = reader.timeline()
    assert isinstance(found, Timeline)
    with path.open("rb") as file:
        places = found.entries(range(found.frames))
        return [is_clean(file, places[key], codec, container) for key in found.keys[1:]]


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_pictures_that_reset_the_decoder_are_found_in_the_bytes_of_a_file(tmp_path, container):
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25")
    assert _entries(tmp_path, f"closed.{container}", *x264) == [True, True]
    assert _entries(tmp_path, f"mpeg2.{container}", "-c:v", "mpeg2video", "-g", "25") == [True, True]


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_picture_that_is_refreshed_bit_by_bit_or_ends_an_open_gop_is_none_to_begin_at(tmp_path, container):
    x264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25")
    assert not any(_entries(tmp_path, f"bits.{container}", *x264, "-x264-params", "intra-refresh=1"))
    opened = _entries(tmp_path, f"open.{container}", *x264, "-x264-params", "open-gop=1:bframes=3:scenecut=0")
    assert opened
    assert not any(opened)


def test_an_open_gop_of_h265_is_entered_at_its_key_frame_for_what_leans_on_earlier_ones_is_shown_earlier(tmp_path):
    quiet = "log-level=none:keyint=25:min-keyint=25:open-gop=1:scenecut=0"
    assert (
        _entries(tmp_path, "open.mp4", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", quiet) == [True] * 2
    )


@pytest.mark.parametrize("content", [b"", b"\0\0\0\1", b"\0" * 64, b"\xff" * 64, b"\0\0\0\x40\x65" + b"\0" * 16])
def test_bytes_that_are_no_units_are_nothing_to_begin_at(tmp_path, content):
    path = tmp_path / "odd"
    path.write_bytes(content)
    with path.open("rb") as file:
        for codec, container in (("h264", "mov,mp4"), ("hevc", "matroska,webm"), ("av1", "mov,mp4")):
            assert not is_clean(file, (0, len(content)), codec, container)


def test_a_part_enters_at_a_clean_key_frame_and_elsewhere_goes_back():
    keys = tuple(Fraction(n * 10, 25) for n in range(5))
    times = tuple(Fraction(n, 25) for n in range(50))
    timeline = Timeline(Fraction(25), Fraction(1, 25), times, keys, 1, clean=frozenset({keys[3]}))
    assert timeline.seek(35) == keys[3]
    assert timeline.seek(30) == keys[3]
    assert timeline.seek(45) == keys[3], "the fourth is not known to be clean"
    assert timeline.seek(25) == keys[1]


@settings(deadline=None)
@given(keys=st.sets(st.integers(1, 999)), cuts=st.sets(st.integers(1, 999), max_size=12))
def test_cuts_move_to_key_frames_that_are_near_and_no_part_becomes_too_short(keys, cuts):
    times = tuple(Fraction(n, 25) for n in range(1000))
    timeline = Timeline(Fraction(25), Fraction(1, 25), times, tuple(Fraction(n, 25) for n in sorted(keys | {0})))
    before = (0, *sorted(cuts), 1000)
    after = timeline.at_keys(before, 50)
    assert (len(after), after[0], after[-1]) == (len(before), 0, 1000)
    assert all(second > first for first, second in pairwise(after))
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if old != new:
            assert new in keys | {0}
            assert abs(new - old) * 4 <= min(old - before[index - 1], before[index + 1] - old)
            assert min(new - after[index - 1], after[index + 1] - new) >= 50


def test_a_cut_goes_to_the_nearest_key_frame():
    times = tuple(Fraction(n, 25) for n in range(1000))
    timeline = Timeline(Fraction(25), Fraction(1, 25), times, tuple(Fraction(n, 25) for n in range(0, 1000, 120)))
    assert timeline.at_keys((0, 250, 500, 750, 1000), 50) == (0, 240, 480, 720, 1000)
