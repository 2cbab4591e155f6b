"""The hls module on odd and broken sources: measured, filled, reported, or refused with nothing published."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.support.hls import QUIET, argvs, make, probe
from tests.support.media import bench_in, clip, ffmpeg
from tests.support.odd_files import FILES
from worker.app.components import registry
from worker.core.errors import BadInput, InvalidJob, LeveretError
from worker.tasks.hls import HlsTask

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("picture", "sound"), [(2, 3), (3, 2)])
async def test_the_shorter_of_picture_and_sound_is_filled_to_the_end(picture: int, sound: int, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    inputs = ("-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d={picture}", "-f", "lavfi", "-i", f"sine=d={sound}")
    ffmpeg(*inputs, "-c:v", "libx264", "-c:a", "aac", str(source))
    made = await make(tmp_path, source)
    assert made.result.outputs["master.m3u8"].duration == pytest.approx(3, abs=0.1)


async def test_a_live_recording_that_states_no_length_is_measured(tmp_path: Path) -> None:
    source = tmp_path / "source.webm"
    live = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus", "-live", "1")
    inputs = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2")
    ffmpeg(*inputs, *live, "-f", "webm", str(source))
    made = await make(tmp_path, source)
    assert made.result.outputs["master.m3u8"].duration == pytest.approx(2, abs=0.1)
    assert any("-show_entries packet=" in argv for argv in argvs(made))


@pytest.mark.parametrize("fault", ["cut mkv", "cut mp4", "empty", "noise", "playlist", "spoiled sound"])
async def test_a_source_that_is_not_what_it_claims_publishes_nothing(fault: str, tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mkv", extra=("-g", "25")).read_bytes()
    source = tmp_path / "source.mp4"
    match fault:
        case "cut mkv":
            source.write_bytes(whole[: len(whole) // 2])
        case "cut mp4":
            moved = clip(tmp_path / "whole.mp4", extra=("-movflags", "+faststart")).read_bytes()
            source.write_bytes(moved[: len(moved) // 2])
        case "empty":
            source.write_bytes(b"")
        case "spoiled sound":
            sound = bytearray(clip(tmp_path / "sound.m4a", picture="", sounds=1).read_bytes())
            third = len(sound) // 3
            sound[third : 2 * third] = random.Random(7).randbytes(third)
            source.write_bytes(sound)
        case "noise":
            source.write_bytes(bytes(range(256)) * 400)
        case _:
            source.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{tmp_path}/whole.mkv\n#EXT-X-ENDLIST\n")
    bench = bench_in(tmp_path)
    (bench.root / "source.mp4").write_bytes(source.read_bytes())
    with pytest.raises(LeveretError) as caught:
        await bench.run_task(HlsTask(), {"source": "nas://source.mp4", **QUIET})
    assert isinstance(caught.value, BadInput)
    assert bench.result.outputs == {}


async def test_a_language_that_the_source_lacks_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match=r"audio\[0\].*en"):
        await make(tmp_path, clip(tmp_path / "source.mp4"), audio=[{"language": "fr"}])


@pytest.mark.parametrize("name", ["cropped.mkv", "turned and cropped.mkv"])
async def test_a_cropped_picture_keeps_the_shape_that_this_hosts_ffmpeg_shows(name: str, tmp_path: Path) -> None:
    """ffmpeg crops by Matroska's figures since 7.1."""
    source = FILES[name](tmp_path / name)
    square = ("-vf", "scale=round(iw*sar):ih,setsar=1")
    ffmpeg("-i", str(source), *square, "-frames:v", "1", str(tmp_path / "shown.png"))
    (shown,) = probe(tmp_path / "shown.png", "-show_streams")["streams"]
    made = await make(tmp_path, source)
    (variant,) = made.master().playlists
    width, height = variant.stream_info.resolution
    assert width / height == pytest.approx(shown["width"] / shown["height"], rel=0.03)


@pytest.mark.parametrize("module", ["hls", "waveform"])
async def test_a_sound_whose_channels_change_midway_is_refused_by_name(module: str, tmp_path: Path) -> None:
    pieces = []
    for channels in (6, 2):
        piece = tmp_path / f"{channels}.ac3"
        ffmpeg("-f", "lavfi", "-i", "sine=440:r=48000:d=0.5", "-ac", str(channels), str(piece))
        pieces.append(piece.read_bytes())
    bench = bench_in(tmp_path)
    (bench.root / "sound.ac3").write_bytes(b"".join(pieces))
    data = {"source": "nas://sound.ac3"} | ({"output": "mp4", "resolution": "64x64"} if module == "waveform" else {})
    with pytest.raises(BadInput, match="its channels or its rate change midway; encode it with the module"):
        await bench.run_task(registry().tasks[module], data)
