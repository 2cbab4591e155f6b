"""A film whose picture or sound lacks some seconds in its middle, while the other goes on: nothing else is lost."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_lengths import length, run
from tests.support.media import clip

if TYPE_CHECKING:
    from pathlib import Path

HOLES = {
    "v": ("-vf", "select='not(between(t,2,4))'", "-fps_mode", "vfr"),
    "a": ("-af", "aselect='not(between(t,2,4))'"),
}


def longest_step(path: Path, kind: str) -> float:
    """Return the most seconds from a packet of a stream to the next."""
    asked = ("-select_streams", f"{kind}:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path)
    listed = subprocess.run(("ffprobe", "-v", "error", *asked), capture_output=True, text=True, check=True, timeout=60)
    times = sorted(float(found) for line in listed.stdout.split() if (found := line.strip(",")) not in {"", "N/A"})
    return max(after - before for before, after in pairwise(times))


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("module", ["ffmpeg", "hls", "mkvmerge", "waveform"])
async def test_a_hole_is_kept_or_filled_and_all_else_is_there(
    module: str, suffix: str, hole: str, tmp_path: Path
) -> None:
    film = clip(tmp_path / f"film.{suffix}", seconds=6, extra=("-bf", "0", *HOLES[hole]))
    assert longest_step(film, hole) == pytest.approx(2, abs=0.2)
    result = await run(module, film, tmp_path / "run")
    assert length(result) == pytest.approx(6, abs=0.2)
    if module in {"ffmpeg", "mkvmerge"}:
        made = next(item.path for item in result.outputs.values())
        assert longest_step(made, hole) == pytest.approx(2, abs=0.2)
