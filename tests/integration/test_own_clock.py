"""What is made of a film whose sound begins before zero: ffmpeg 5.1 says so of Opus, 7.1 of AAC too."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.flashes import FLASH, flashing, moments
from tests.support.hls import make
from tests.support.media import bench_in
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.thumbnail import ThumbnailTask

if TYPE_CHECKING:
    from pathlib import Path

SOUNDS = {"opus": ("libopus", ".opus"), "aac": ("aac", ".mka"), "mp3": ("libmp3lame", ".mka")}
COPY, X264, AAC = {"codec": "copy"}, {"codec": "libx264", "preset": "ultrafast"}, {"codec": "aac"}
EXACT = 0.005
SOUND_EXACT = 0.008
"""ffmpeg 5.1 writes Opus into Matroska 6.5 ms early."""


def found_in(folder: Path, name: str) -> Path:
    return next(folder.rglob(name))


def maps(**made: dict[str, str]) -> list[dict[str, Any]]:
    return [{"specifier": kind, "options": options} for kind, options in made.items()]


@pytest.fixture(params=SOUNDS)
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return flashing(tmp_path / "source" / "film.mkv", *SOUNDS[request.param])


async def made_of(film: Path, tmp_path: Path, output: str, **data: Any) -> Path:
    bench = bench_in(tmp_path / "bench")
    shutil.copy(film, bench.root / film.name)
    (bench.root / "text.srt").write_text(FLASH, "utf-8")
    await bench.run_task(FfmpegTask(), {"sources": ["nas://film.mkv"], "output_file": output} | data)
    return found_in(tmp_path, output)


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
async def test_a_text_taken_out_of_a_film_keeps_its_times(film: Path, tmp_path: Path, suffix: str) -> None:
    codec = {"vtt": "webvtt"}.get(suffix, suffix)
    data = {"source_maps": [{"source": 0, "specifier": "s"}], "output_maps": maps(s={"codec": codec})}
    made = await made_of(film, tmp_path, f"text.out.{suffix}", **data)
    lines = [line for line in made.read_text("utf-8").splitlines() if "-->" in line or line.startswith("Dialogue")]
    assert re.search(r"00?:01[.,]00", lines[0]), lines


@pytest.mark.parametrize(
    ("output", "made", "apart"),
    [
        ("copied.mkv", {"v": COPY, "a": COPY, "s": COPY}, True),
        ("encoded.mkv", {"v": X264, "a": AAC, "s": {"codec": "ass"}}, True),
        ("encoded.mp4", {"v": X264, "a": AAC, "s": {"codec": "mov_text"}}, False),
    ],
)
async def test_picture_sound_and_cues_stay_together(
    film: Path, tmp_path: Path, output: str, made: dict[str, Any], *, apart: bool
) -> None:
    kinds = [{"source": 0, "specifier": "v"}, {"source": 0, "specifier": "a"}]
    sources = ["nas://film.mkv", "nas://text.srt"] if apart else ["nas://film.mkv"]
    data = {"sources": sources, "source_maps": [*kinds, {"source": int(apart), "specifier": "s"}]}
    found = moments(await made_of(film, tmp_path, output, output_maps=maps(**made), **data))
    wanted = moments(film)
    assert found["cue"] - found["picture"] == pytest.approx(wanted["cue"] - wanted["picture"], abs=EXACT)
    assert found["sound"] - found["picture"] == pytest.approx(wanted["sound"] - wanted["picture"], abs=SOUND_EXACT)


async def test_a_piece_is_cut_on_the_clock_of_the_film(film: Path, tmp_path: Path) -> None:
    data = {"input_options": {"ss": 0.52}, "output_maps": maps(v=X264, a=AAC)}
    found = moments(await made_of(film, tmp_path, "piece.mp4", **data))
    assert found["picture"] == pytest.approx(0.48, abs=EXACT)


async def test_a_presentation_flashes_when_its_cue_is_shown(film: Path, tmp_path: Path) -> None:
    made = await make(tmp_path / "bench", film, renditions=[{"height": 120}])
    assert "00:00:01.000 --> 00:00:02.000" in next(made.folder.rglob("all.vtt")).read_text("utf-8")
    (sound,) = {item.uri for item in made.master().media if item.type == "AUDIO"}
    assert moments(made.whole(made.master().playlists[0].uri))["picture"] == pytest.approx(1, abs=EXACT)
    heard = moments(made.whole(sound))["sound"]
    assert heard == pytest.approx(moments(film)["sound"], abs=EXACT)


@pytest.mark.parametrize(("time", "is_bright"), [(0.97, False), (1.0, True)])
async def test_a_still_is_the_picture_that_is_shown_then(
    film: Path, tmp_path: Path, time: float, *, is_bright: bool
) -> None:
    bench = bench_in(tmp_path / "bench")
    shutil.copy(film, bench.root / film.name)
    await bench.run_task(ThumbnailTask(), {"source": "nas://film.mkv", "output_file": "still.png", "time": time})
    asked = (
        "ffmpeg",
        "-v",
        "error",
        "-i",
        found_in(tmp_path, "still.png"),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    )
    grey = subprocess.run(asked, capture_output=True, check=True, timeout=60).stdout
    assert (sum(grey) / len(grey) > 128) is is_bright
