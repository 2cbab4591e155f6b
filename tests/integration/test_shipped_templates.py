"""Every template that is shipped makes a job of a small source, and the job's tasks make what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.media import bench_in, clip, ffmpeg
from tests.support.visualizers import bench_in as gource_bench
from tests.support.visualizers import frames_of, gource_task, made_repository
from tests.support.web import site
from worker.app.control import modules
from worker.control.intake.blueprint import Skip
from worker.control.intake.shipped import shipped_templates
from worker.control.intake.templates import Rendered, checked_template, get_template, list_templates, render

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"preset": "ultrafast"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    clip(folder / "plain.mkv", seconds=1)
    clip(folder / "bare.mkv", sounds=2, seconds=1)
    (folder / "t.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\nHello\n")
    texts = ("-i", str(folder / "t.srt"), "-map", "0", "-map", "1", "-c", "copy", "-metadata:s:s:0", "language=eng")
    ffmpeg("-i", str(folder / "bare.mkv"), *texts, str(folder / "Alien: Romulus.mkv"))
    ffmpeg(
        "-i",
        str(folder / "Alien: Romulus.mkv"),
        "-map",
        "0",
        "-c",
        "copy",
        "-c:s",
        "mov_text",
        str(folder / "phone.mp4"),
    )
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1", "-f", "lavfi", "-i", "sine=440:d=1:r=48000",
        "-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-c:a", "ac3",
        str(folder / "dvd.mkv"),
    )  # fmt: skip
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=4:r=48000", "-af", "volume=-20dB", str(folder / "song.flac"))
    return folder


@pytest.mark.parametrize(
    ("name", "source", "values", "made"),
    [
        ("h265-archive", "Alien: Romulus.mkv", SMALL, {"./Alien Romulus.mkv": ["hevc", "aac", "aac", "subrip"]}),
        ("av1-archive", "plain.mkv", {"preset": "12"}, {"./plain.mkv": ["av1", "aac"]}),
        ("web-mp4", "dvd.mkv", {}, {"./dvd.mp4": ["h264", "aac"]}),
        ("hls-ladder", "plain.mkv", {"segment": "2"}, {"master.m3u8": None}),
        ("proxy-540p", "plain.mkv", {}, {"./plain-proxy.mp4": ["h264", "aac"]}),
        ("dvd-cleanup", "dvd.mkv", {"crf": "30"}, {"./dvd.mkv": ["h264", "ac3"]}),
        ("remux-mkv", "phone.mp4", {}, {"./phone.mkv": ["h264", "aac", "aac", "subrip"]}),
        ("audio-opus", "song.flac", {"rate": "48k"}, {"./song.opus": ["opus"]}),
        ("podcast-mp3", "song.flac", {"title": "A: talk/1"}, {"./A talk 1.mp3": ["mp3"]}),
        ("loudness-r128", "song.flac", {}, {"./song.mkv": ["aac"]}),
        ("poster", "plain.mkv", {}, {"./plain.jpg": ["mjpeg"]}),
        ("subtitles-srt", "Alien: Romulus.mkv", {}, {"./Alien Romulus.srt": ["subrip"]}),
        ("waveform-720p", "song.flac", {}, {"./song.mp4": ["h264", "aac"]}),
    ],
)
async def test_a_shipped_template_makes_what_it_says(tmp_path: Path, films: Path, name, source, values, made):
    async with site(tmp_path) as here:
        (here.folder / "nas" / "in").mkdir()
        (here.folder / "nas" / "in" / source).write_bytes((films / source).read_bytes())
        rendered = await render(here.services.control, name, f"nas://in/{source}", values)
    assert isinstance(rendered, Rendered)
    assert rendered.document["destination"].startswith("nas://in/")
    bench = bench_in(tmp_path / "bench", roots=(films,))
    (bench.root / "in").symlink_to(films)
    for task in rendered.document["tasks"]:
        result = await bench.run_task(modules().tasks[task["module"]], task["data"])
    for output, codecs in made.items():
        assert output in result.outputs, sorted(result.outputs)
        if codecs is not None:
            info = await bench.probe(result.outputs[output].path)
            assert [stream.codec for stream in info.streams] == codecs


async def test_the_shipped_gource_template_draws_a_repository(tmp_path: Path):
    async with site(tmp_path) as here:
        rendered = await render(
            here.services.control, "gource-1080p", "https://example.com/a/leveret.git", {"length": "1", "title": "a/b"}
        )
    assert isinstance(rendered, Rendered)
    (task,) = rendered.document["tasks"]
    assert task["data"] == {
        "repo_url": "https://example.com/a/leveret.git", "resolution": "1920x1080", "output": "mp4",
        "output_file": "./leveret.mp4", "output_framerate": 30, "length": 1, "title": "a/b",
    }  # fmt: skip
    # the very job, but for the address, which no test reaches, and for most of its frames: each takes its time
    repository = made_repository(tmp_path / "clones" / "leveret", {"a.py": "1"}, {"src/b.py": "2"})
    asked = task["data"] | {"repo_url": f"file://{repository}", "last_frame": 15}
    bench = gource_bench(tmp_path)
    result = await bench.run_task(gource_task(tmp_path / "clones"), asked)
    (video,) = (await bench.probe(result.outputs["./leveret.mp4"].path)).streams
    assert (video.codec, video.width, video.height) == ("h264", 1920, 1080)
    assert frames_of(result.outputs["./leveret.mp4"].path) == 15


async def test_a_file_that_conforms_to_a_template_is_left_alone(tmp_path: Path, films: Path):
    async with site(tmp_path) as here:
        (here.folder / "nas" / "in").mkdir()
        for name in ("Alien: Romulus.mkv", "song.flac"):
            (here.folder / "nas" / "in" / name).write_bytes((films / name).read_bytes())
        control = here.services.control
        assert isinstance(await render(control, "remux-mkv", "nas://in/Alien: Romulus.mkv"), Skip)
        assert isinstance(await render(control, "dvd-cleanup", "nas://in/Alien: Romulus.mkv"), Skip)
        assert isinstance(await render(control, "poster", "nas://in/song.flac"), Skip)


async def test_shipped_templates_are_listed_and_can_be_replaced(tmp_path: Path):
    assert len(shipped_templates()) >= 12
    for name, template in shipped_templates().items():
        checked_template(modules(), name, template.document)
        assert template.document["description"].endswith(".")
    async with site(tmp_path) as here:
        control = here.services.control
        assert {one.name for one in await list_templates(control)} == set(shipped_templates())
        own = await control.stores.put_template("poster", shipped_templates()["poster"].document | {"description": "."})
        assert (await get_template(control, "poster")).version == own.version == 1
        assert (await get_template(control, "poster", 0)).document == shipped_templates()["poster"].document
        assert await control.stores.delete_template("poster")
        assert (await get_template(control, "poster")).version == 0
