"""probe, thumbnail and handbrake on the real tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import bench_in, clip, ffmpeg
from worker.core.errors import BadInput, InvalidJob
from worker.tasks.handbrake import HandbrakeTask
from worker.tasks.probe import ProbeTask
from worker.tasks.thumbnail import ThumbnailTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import TaskBench


@pytest.fixture
def bench(tmp_path: Path) -> TaskBench:
    bench = bench_in(tmp_path)
    clip(bench.root / "film.mkv", sounds=2, seconds=3)
    return bench


async def test_a_probe_puts_facts_into_the_record_and_a_file(bench: TaskBench) -> None:
    result = await bench.run_task(ProbeTask(), {"source": "nas://film.mkv", "output_file": "facts.json"})
    facts = result.facts["probe"]
    assert json.loads(result.outputs["facts.json"].path.read_text("utf-8")) == facts
    streams = json.loads(json.dumps(facts))["streams"]
    assert [(s["kind"], s["codec"]) for s in streams] == [("video", "h264"), ("audio", "aac"), ("audio", "aac")]
    assert (streams[0]["width"], streams[0]["frame_rate"], streams[1]["language"]) == (320, "25", "eng")


async def test_a_thumbnail_is_the_picture_at_its_time(bench: TaskBench) -> None:
    ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=320x180:d=2:r=25"),
        *("-f", "lavfi", "-i", "color=blue:s=320x180:d=2:r=25"),
        *("-filter_complex", "[0][1]concat", "-c:v", "libx264", str(bench.root / "colours.mp4")),
    )
    data = {"source": "nas://colours.mp4", "time": 3, "output_file": "late.png", "width": 160}
    result = await bench.run_task(ThumbnailTask(), data)
    picture = result.outputs["late.png"].path
    ffmpeg("-i", str(picture), "-vf", "scale=1:1", "-f", "rawvideo", "-pix_fmt", "rgb24", str(picture) + ".raw")
    red, _, blue = (bench.root.parent / str(picture)).with_name("late.png.raw").read_bytes()
    assert blue > 200
    assert red < 50
    assert (await bench.probe(picture)).streams[0].width == 160
    assert result.thumbnail == "late.png"


@pytest.mark.parametrize("name", ["still.jpg", "still.webp"])
async def test_without_a_time_the_most_telling_picture_is_taken(bench: TaskBench, name: str) -> None:
    result = await bench.run_task(ThumbnailTask(), {"source": "nas://film.mkv", "output_file": name})
    assert (await bench.probe(result.outputs[name].path)).streams[0].height == 180


async def test_a_time_after_the_end_is_refused(bench: TaskBench) -> None:
    with pytest.raises(InvalidJob, match="lasts 3"):
        await bench.run_task(ThumbnailTask(), {"source": "nas://film.mkv", "output_file": "a.jpg", "time": 60})


def encode(**data: Any) -> dict[str, Any]:
    video = {"encoder": "x264", "encoder_preset": "ultrafast", "quality": 30}
    return {"source": "nas://film.mkv", "output_file": "out.mkv", "video_options": video} | data


async def test_handbrake_encodes_with_both_spellings_of_its_sections(bench: TaskBench) -> None:
    picture = {"maxWidth": 160, "keep_display_aspect": True, "crop": [0, 0, 0, 0]}
    audio = {"audio": [1, 2], "aencoder": ["av_aac", "av_aac"], "ab": [64, 64]}
    result = await bench.run_task(HandbrakeTask(), encode(picture_options=picture, audio_options=audio))
    info = await bench.probe(result.outputs["out.mkv"].path)
    assert info.video is not None
    assert (info.video.width, len(info.audio)) == (160, 2)
    fractions = [report.fraction for report in result.reports if report.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    tracks = [{"track": 2, "encoder": "av_aac", "bitrate": 64, "name": "Second"}]
    result = await bench.run_task(HandbrakeTask(), encode(audio_tracks=tracks, output_file="old.mkv"))
    (sound,) = (await bench.probe(result.outputs["old.mkv"].path)).audio
    assert (sound.title, sound.language) == ("Second", "jpn")


async def test_handbrake_makes_nothing_of_what_is_no_film(bench: TaskBench) -> None:
    (bench.root / "noise.mkv").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(BadInput):
        await bench.run_task(HandbrakeTask(), encode(source="nas://noise.mkv"))


async def test_a_film_cut_short_is_found_out_though_handbrake_exits_0(bench: TaskBench) -> None:
    whole = clip(bench.root / "long.mkv", seconds=8).read_bytes()
    (bench.root / "cut.mkv").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(BadInput, match="File ended prematurely"):
        await bench.run_task(HandbrakeTask(), encode(source="nas://cut.mkv"))


async def test_an_encoder_that_handbrake_has_not_is_the_jobs_fault(bench: TaskBench) -> None:
    with pytest.raises(InvalidJob):
        await bench.run_task(HandbrakeTask(), encode(video_options={"encoder": "no_such_encoder"}))
