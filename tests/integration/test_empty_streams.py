"""Streams that are declared and hold nothing: every module says so at the first try, or leaves them out and warns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import bench_in, ffmpeg
from worker.app.components import registry
from worker.core.errors import BadInput, InvalidJob

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import TaskBench

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=0.4")
SOUND = ("-f", "lavfi", "-i", "sine=440:r=48000:d=0.4")
CODED = ("-map", "0", "-map", "1", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
ALL_BUT_ONE = ("-bsf:a", r"noise=drop=gt(n\,0)")
X264, AAC = {"codec": "libx264", "preset": "ultrafast"}, {"codec": "aac"}
ENCODED: dict[str, Any] = {"sources": ["nas://SOURCE"], "output_maps": [{"options": X264}, {"options": AAC}]}
ENCODED["output_maps"][0]["specifier"], ENCODED["output_maps"][1]["specifier"] = "v", "a"
ALONE: dict[str, Any] = {"sources": ["nas://SOURCE"], "source_maps": [{"specifier": "a"}]}
WAV, FLAC = ([{"specifier": "a", "options": {"codec": codec}}] for codec in ("pcm_s16le", "flac"))
COPIED: dict[str, Any] = {
    "sources": ["nas://SOURCE"], "source_maps": [{}], "output_maps": [{"options": {"codec": "copy"}}]
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of films and sounds of which a stream holds nothing."""
    folder = tmp_path_factory.mktemp("empty")
    vorbis, opus = ("-c:a", "libvorbis"), ("-c:a", "libopus")
    ffmpeg(*PICTURE, *SOUND, *CODED, *vorbis, "-bsf:a", "noise=drop=1", str(folder / "no-packet.mkv"))
    # the first packet of Vorbis only begins the second, and Opus drops what its encoder needed to begin
    ffmpeg(*PICTURE, *SOUND, *CODED, *vorbis, *ALL_BUT_ONE, str(folder / "vorbis.mkv"))
    ffmpeg(*SOUND, *opus, "-frame_duration", "2.5", *ALL_BUT_ONE, str(folder / "opus.ogg"))
    ffmpeg(*PICTURE, *SOUND, *CODED, *vorbis, "-bsf:v", "noise=drop=1", str(folder / "no-picture.mkv"))
    return folder


@pytest.fixture
def bench(sources: Path, tmp_path: Path) -> TaskBench:
    bench = bench_in(tmp_path)
    for path in sources.iterdir():
        (bench.root / path.name).hardlink_to(path)
    return bench


async def ran(bench: TaskBench, module: str, data: dict[str, Any], source: str) -> Any:
    named = json.loads(json.dumps(data).replace("SOURCE", source))
    return await bench.run_task(registry().tasks[module], named)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": ("ffmpeg", ENCODED | {"output_file": "o.mp4"}),
    "mkv": ("ffmpeg", ENCODED | {"output_file": "o.mkv"}),
    "wav": ("ffmpeg", ALONE | {"output_maps": WAV, "output_file": "o.wav"}),
    "flac": ("ffmpeg", ALONE | {"output_maps": FLAC, "output_file": "o.flac"}),
    "waveform": ("waveform", {"source": "nas://SOURCE", "resolution": "64x64", "output": "mp4"}),
}


@pytest.mark.parametrize(
    ("source", "case"),
    [
        ("no-packet.mkv", "mp4"),
        ("no-packet.mkv", "wav"),
        ("vorbis.mkv", "mkv"),
        ("vorbis.mkv", "waveform"),
        ("opus.ogg", "flac"),
        ("opus.ogg", "waveform"),
    ],
)
async def test_a_sound_that_decodes_to_nothing_is_bad_input_by_name(source: str, case: str, bench: TaskBench) -> None:
    module, data = CASES[case]
    with pytest.raises(BadInput, match=rf"the sound 0:\d \(\w+\) of \S*{source} holds nothing that decodes"):
        await ran(bench, module, data, source)


async def test_handbrake_names_the_sound_that_it_left_out(bench: TaskBench) -> None:
    data = {"source": "nas://SOURCE", "audio_tracks": [{"track": 1}], "output_file": "o.mkv"}
    coding = {"video_options": {"encoder": "x264", "encoder-preset": "ultrafast"}}
    with pytest.raises(BadInput, match=r"the sound 0:1 \(vorbis\) of \S+ holds nothing"):
        await ran(bench, "handbrake", data | coding, "vorbis.mkv")


@pytest.mark.parametrize("source", ["no-packet.mkv", "vorbis.mkv"])
async def test_a_presentation_is_made_without_an_empty_sound_that_nobody_named(source: str, bench: TaskBench) -> None:
    data: dict[str, Any] = {"source": "nas://SOURCE", "poster": False, "storyboard": False}
    result = await ran(bench, "hls", data, source)
    assert result.facts["hls"]["audio"] == []
    assert "the sound 0:1 (vorbis) of the source holds nothing that decodes, and was left out" in result.warnings
    with pytest.raises(InvalidJob, match=r"audio\[0\]: the sound 0:1"):
        await ran(bench, "hls", data | {"audio": [{"stream": 0}]}, source)


async def test_a_presentation_of_nothing_but_an_empty_sound_is_refused(bench: TaskBench) -> None:
    with pytest.raises(BadInput, match="holds nothing that decodes"):
        await ran(bench, "hls", {"source": "nas://SOURCE"}, "opus.ogg")


async def test_a_copy_into_a_container_that_drops_the_empty_stream_is_refused(bench: TaskBench) -> None:
    with pytest.raises(BadInput, match=r"the sound 0:1 \(vorbis\) of no-packet.mkv holds no packet"):
        await ran(bench, "ffmpeg", COPIED | {"output_file": "o.mp4"}, "no-packet.mkv")


async def test_a_copy_that_keeps_the_empty_stream_says_so(bench: TaskBench) -> None:
    result = await ran(bench, "ffmpeg", COPIED | {"output_file": "o.mkv"}, "no-packet.mkv")
    assert "the sound 0:1 (vorbis) of o.mkv holds no packet, as in its source" in result.warnings


@pytest.mark.parametrize("data", [ENCODED, COPIED], ids=["encoded", "copied"])
async def test_a_picture_without_a_packet_is_bad_input_by_name(data: dict[str, Any], bench: TaskBench) -> None:
    with pytest.raises(BadInput, match=r"the picture 0:0 \(h264\) of no-picture.mkv holds no"):
        await ran(bench, "ffmpeg", data | {"output_file": "o.mkv"}, "no-picture.mkv")


async def test_a_merge_of_sources_without_a_packet_is_bad_input(bench: TaskBench) -> None:
    data = {"sources": [{"filename": "nas://SOURCE"}], "tracks": [{"track": 1}], "output_file": "o.mkv"}
    with pytest.raises(BadInput, match=r"o\.mkv would hold nothing: no track of its sources has a packet"):
        await ran(bench, "mkvmerge", data, "no-packet.mkv")


async def test_a_codec_that_a_transport_stream_does_not_carry_is_refused_by_name(bench: TaskBench) -> None:
    ffmpeg(*SOUND, "-c:a", "libvorbis", str(bench.root / "whole.ogg"))
    with pytest.raises(InvalidJob, match="a transport stream does not carry vorbis"):
        await ran(bench, "ffmpeg", COPIED | {"output_file": "o.ts"}, "whole.ogg")
