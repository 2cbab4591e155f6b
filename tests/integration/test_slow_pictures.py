"""Pictures farther apart than a second are repeated in HLS and DASH, else no player would come to their end."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import m3u8
import pytest

from tests.support.hls import make, probe
from tests.support.media import ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
SLOW: dict[str, tuple[str, float, int]] = {
    "a tenth of a picture a second": ("testsrc2=s=64x64:r=1/10:d=20", 20, 20),
    "a picture a minute": ("testsrc2=s=64x64:r=1/60:d=120", 120, 120),
    "a single still under sound": ("testsrc2=s=64x64:r=1/8:d=8", 8, 8),
}
"""Their pictures, the seconds of their sound, and the fewest pictures that a presentation must have."""


@pytest.mark.parametrize("name", SLOW)
async def test_slow_pictures_are_repeated_until_each_second_has_one(name: str, tmp_path: Path) -> None:
    picture, seconds, least = SLOW[name]
    source = tmp_path / "slow.mkv"
    sound = ("-f", "lavfi", "-i", f"sine=440:r=48000:d={seconds}", "-c:a", "aac", "-b:a", "16k")
    ffmpeg("-f", "lavfi", "-i", picture, *sound[:4], *H264, *sound[4:], str(source))
    made = await make(tmp_path, source, renditions=[{"height": 64}], segment_time=4)
    assert made.result.outputs["master.m3u8"].duration == pytest.approx(seconds, abs=1.0)
    (variant,) = made.master().playlists
    pieces = [segment.duration or 0.0 for segment in m3u8.loads(made.text(variant.uri)).segments]
    assert max(pieces) <= 6
    assert sum(pieces) == pytest.approx(seconds, abs=1.0)
    shown = probe(made.whole(variant.uri), "-select_streams", "v", "-show_packets")["packets"]
    times = sorted(float(packet["pts_time"]) for packet in shown)
    assert len(times) >= least - 1
    assert max(after - before for before, after in pairwise(times)) <= 1.01
    assert float(shown[-1]["duration_time"]) <= 1.01
    # DASH lists the same segments, none longer
    manifest = made.text("manifest.mpd")
    scale = int(re.findall(r'timescale="(\d+)"', manifest)[0])
    assert max(int(length) for length in re.findall(r'<S t="\d+" d="(\d+)"', manifest)) <= 6 * scale


def test_the_sources_are_as_slow_as_they_say(tmp_path: Path) -> None:
    for picture, _, _ in list(SLOW.values())[:2]:
        ffmpeg("-f", "lavfi", "-i", picture, *H264, str(tmp_path / "slow.mkv"))
        argv = ("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0")
        seen = subprocess.run((*argv, tmp_path / "slow.mkv"), capture_output=True, text=True, check=True, timeout=60)
        assert seen.stdout.strip() == "2"
