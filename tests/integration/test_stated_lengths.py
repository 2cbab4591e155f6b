"""A header that states another length than its film has: nothing of the film is left out, and nothing is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.test_lengths import length, run
from tests.support.broadcasts import half
from tests.support.headers import misstated, with_an_old_tag
from tests.support.media import clip
from worker.core.errors import BadInput
from worker.media.head import HEAD_BYTES, stated_bytes

if TYPE_CHECKING:
    from pathlib import Path

EVERY = ["ffmpeg", "hls", "handbrake", "waveform"]


@pytest.mark.parametrize("module", EVERY)
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi", "wmv"])
async def test_a_film_is_taken_whole_where_its_header_states_less(module: str, suffix: str, tmp_path: Path) -> None:
    result = await run(module, misstated(tmp_path / f"film.{suffix}", 0.4), tmp_path)
    assert length(result) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("module", ["hls", "waveform"])
@pytest.mark.parametrize("stated", ["00:00:01.000000000", "00:00:30.000000000"])
async def test_a_tag_of_another_file_states_no_length(module: str, stated: str, tmp_path: Path) -> None:
    result = await run(module, with_an_old_tag(tmp_path / "film.mkv", stated), tmp_path)
    assert length(result) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("module", EVERY)
async def test_an_asf_that_has_all_of_its_bytes_is_as_long_as_its_packets(module: str, tmp_path: Path) -> None:
    result = await run(module, misstated(tmp_path / "film.wmv", 3), tmp_path)
    assert length(result) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("module", EVERY)
async def test_half_an_asf_is_bad_input_at_once(module: str, tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.wmv", extra=("-c:v", "wmv2", "-c:a", "wmav2"))
    with pytest.raises(BadInput, match="cut short: it states"):
        await run(module, half(whole, tmp_path / "half.wmv"), tmp_path)


@pytest.mark.parametrize("module", EVERY)
async def test_a_matroska_file_that_holds_less_than_it_states_is_bad_input_at_once(module: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cut short"):
        await run(module, misstated(tmp_path / "film.mkv", 3), tmp_path)


async def test_a_still_behind_the_stated_end_is_made(tmp_path: Path) -> None:
    result = await run("thumbnail", misstated(tmp_path / "film.mkv", 0.1), tmp_path)
    assert result.outputs


def test_the_header_of_an_asf_tells_its_bytes(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.wmv", seconds=1, extra=("-c:v", "wmv2", "-c:a", "wmav2"))
    assert stated_bytes(whole.read_bytes()[:HEAD_BYTES]) == whole.stat().st_size
    assert stated_bytes(whole.read_bytes()[:40]) is None
