"""HDR that is kept keeps what it says of its mastering, or the record says what is lost."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import bench_in, ffmpeg
from worker.media.hls.mastering import mastering_of
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.hls import HlsTask
from worker.tasks.shared.pictures import mastering_in

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import TaskBench

DISPLAY = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
MASTERING = f"{DISPLAY}:max-cll=1000,400"
QUIET = {"poster": False, "storyboard": False}
COLOURS = {"color_primaries": "bt2020", "color_trc": "smpte2084", "colorspace": "bt2020nc"}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hdr") / "film.mkv"
    tags = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    parameters = f"log-level=error:{tags}:hdr10=1:{MASTERING}"
    coding = ("-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", parameters)
    colours = [part for key, value in COLOURS.items() for part in (f"-{key}", value)]
    # ffmpeg 8 takes an encoder's colours from its pictures, 5.1 from the options
    picture = "testsrc2=s=320x180:r=25:d=1,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
    ffmpeg("-f", "lavfi", "-i", picture, *coding, *colours, str(path))
    return path


@pytest.fixture
def bench(tmp_path: Path, film: Path) -> TaskBench:
    bench = bench_in(tmp_path)
    shutil.copy(film, bench.root)
    return bench


async def test_hevc_renditions_keep_mastering_display_and_light_level(bench: TaskBench) -> None:
    data = {"source": "nas://film.mkv", "hdr": "keep", "renditions": [{"height": 180, "codec": "hevc"}], **QUIET}
    result = await bench.run_task(HlsTask(), data)
    assert result.warnings == []
    folder = next(staged.path for name, staged in result.outputs.items() if name.endswith("init.mp4")).parent
    first = next(path for path in sorted(folder.iterdir()) if path.suffix == ".m4s")
    whole = folder / "whole.mp4"
    whole.write_bytes((folder / "init.mp4").read_bytes() + first.read_bytes())
    assert await mastering_in(whole, bench) == MASTERING


async def test_an_encoder_that_writes_no_mastering_is_named(bench: TaskBench) -> None:
    data = {"source": "nas://film.mkv", "hdr": "keep", "renditions": [{"height": 90, "codec": "h264"}], **QUIET}
    result = await bench.run_task(HlsTask(), data)
    assert result.warnings == ["mastering display and content light level are lost: libx264 writes none"]


@pytest.mark.parametrize("more", ["", f":hdr10=1:{MASTERING}"], ids=["left out", "asked for"])
async def test_an_encode_of_hdr10_says_whether_its_mastering_is_lost(bench: TaskBench, more: str) -> None:
    options: dict[str, Any] = {"codec": "libx265", "preset": "ultrafast", "x265-params": f"log-level=error{more}"}
    maps = [{"specifier": "v", "options": options | COLOURS}]
    data = {"sources": ["nas://film.mkv"], "output_maps": maps, "output_file": "o.mkv"}
    result = await bench.run_task(FfmpegTask(), data)
    kept = await mastering_in(result.outputs["o.mkv"].path, bench)
    # ffmpeg 7.1 and later keep it by themselves
    assert kept == MASTERING or not more
    assert bool(result.warnings) == (kept != MASTERING)
    assert all("mastering display" in warning for warning in result.warnings)


@pytest.mark.parametrize("answer", ["", "{", "[]", '{"frames": [{"side_data_list": [1, {"side_data_type": 2}]}]}'])
def test_an_answer_without_mastering_is_none(answer: str) -> None:
    assert mastering_of(answer) == ""
