"""The hls module on real tools: the picture of every source of the matrix becomes renditions that players can take."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hls import argvs, keyframes, make, probe
from tests.support.media import clip, turned
from worker.adapters.host import bundled_tools

if TYPE_CHECKING:
    from pathlib import Path

MATRIX: dict[str, tuple[dict[str, Any], str, tuple[int, ...]]] = {
    "silent film": ({"sounds": 0}, "320x180", (25,)),
    "two languages": ({"sounds": 2}, "320x180", (25,)),
    "29.97": ({"picture": "s=320x180:r=30000/1001"}, "320x180", (30,)),
    "50 fps": ({"picture": "s=320x180:r=50"}, "320x180", (50,)),
    "120 fps": ({"picture": "s=160x90:r=120", "seconds": 2}, "160x90", (60,)),
    "portrait": ({"picture": "s=180x320:r=25"}, "180x320", (25,)),
    "anamorphic": ({"picture": "s=160x180:r=25", "extra": ("-vf", "setsar=2/1")}, "320x180", (25,)),
    "odd size": (
        {"picture": "s=323x181:r=25", "extra": ("-c:v", "ffv1", "-pix_fmt", "yuv444p")},
        "322x180",
        (25,),
    ),
    "ten bits": ({"extra": ("-pix_fmt", "yuv420p10le", "-profile:v", "high10")}, "320x180", (25,)),
    "late start": ({"extra": ("-output_ts_offset", "10")}, "320x180", (25,)),
    "two seconds": ({"seconds": 2}, "320x180", (25,)),
    "variable rate": (
        {"picture": "s=320x180:r=30", "extra": ("-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "vfr")},
        "320x180",
        (24, 30),  # an average or a nominal rate, as the container tells
    ),
}


@pytest.mark.parametrize("name", MATRIX)
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
async def test_every_kind_of_source_plays_upright_in_its_shape_from_zero(
    name: str, suffix: str, tmp_path: Path
) -> None:
    wanted, size, rates = MATRIX[name]
    if name == "odd size" and suffix != "mkv":
        suffix = "mkv"
    source = clip(tmp_path / f"source.{suffix}", **wanted)
    made = await make(tmp_path, source)
    (variant, *_) = made.master().playlists
    assert "x".join(map(str, variant.stream_info.resolution)) == size
    assert round(variant.stream_info.frame_rate) in rates
    picture = probe(made.whole(variant.uri))
    assert float(picture["packets"][0]["pts_time"]) == 0
    length = made.result.outputs[made.result.manifest or ""].duration
    assert length == pytest.approx(wanted.get("seconds", 3), abs=0.1)
    assert len(picture["packets"]) == round(length * float(Fraction(picture["streams"][0]["r_frame_rate"])))
    sounds = [media for media in made.master().media if media.type == "AUDIO"]
    assert len(sounds) == wanted.get("sounds", 1)
    for sound in sounds:
        heard = probe(made.whole(sound.uri))["packets"]
        # priming samples lie before zero, and an edit list leaves them out
        assert -0.03 < float(heard[0]["pts_time"]) <= 0
        assert float(heard[-1]["pts_time"]) == pytest.approx(length, abs=0.05)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
async def test_a_rotated_film_is_turned_upright(tmp_path: Path, container: str) -> None:
    made = await make(tmp_path, turned(clip(tmp_path / "plain.mp4"), tmp_path / f"turned.{container}"))
    assert made.master().playlists[0].stream_info.resolution == (180, 320)


async def test_interlaced_pictures_are_deinterlaced(tmp_path: Path) -> None:
    vf = ("-vf", "tinterlace=interleave_top,setfield=tff", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-b:v", "2M")
    source = clip(tmp_path / "source.ts", picture="s=320x180:r=50", extra=vf)
    bench_made = await make(tmp_path, source)
    (encode,) = [line for line in argvs(bench_made) if "bwdif" in line]
    assert "bwdif=mode=send_frame" in encode
    assert bench_made.master().playlists[0].stream_info.frame_rate == 25


def hdr_clip(path: Path) -> Path:
    """Return a clip of two seconds in HDR10."""
    tags = "setparams=color_trc=smpte2084:color_primaries=bt2020:colorspace=bt2020nc"
    hdr = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none")
    hdr_tags = ("-color_trc", "smpte2084", "-color_primaries", "bt2020", "-colorspace", "bt2020nc")
    return clip(path, seconds=2, extra=("-vf", tags, *hdr, *hdr_tags))


async def test_hdr_stays_and_is_signalled_where_no_filter_maps_tones(tmp_path: Path) -> None:
    # the wheel's ffmpeg has no zscale
    made = await make(tmp_path, hdr_clip(tmp_path / "source.mkv"), tools={"ffmpeg": bundled_tools()["ffmpeg"]})
    assert any("zscale is missing" in warning for warning in made.result.warnings)
    (variant,) = made.master().playlists
    assert variant.stream_info.video_range == "PQ"
    stream = probe(made.whole(variant.uri))["streams"][0]
    assert (stream["pix_fmt"], stream["color_transfer"]) == ("yuv420p10le", "smpte2084")


async def test_hdr_is_mapped_to_sdr_and_says_so(tmp_path: Path) -> None:
    source = hdr_clip(tmp_path / "source.mkv")
    made = await make(tmp_path, source)
    assert "VIDEO-RANGE=SDR" in made.text("master.m3u8")
    stream = probe(made.whole(made.master().playlists[0].uri))["streams"][0]
    assert (stream["pix_fmt"], stream["color_transfer"]) == ("yuv420p", "bt709")
    kept = await make(tmp_path / "kept", source, hdr="keep", renditions=[{"height": 180, "codec": "hevc"}])
    assert "VIDEO-RANGE=PQ" in kept.text("master.m3u8")
    stream = probe(kept.whole(kept.master().playlists[0].uri))["streams"][0]
    assert (stream["pix_fmt"], stream["color_transfer"]) == ("yuv420p10le", "smpte2084")


async def test_all_renditions_have_the_same_key_frames_every_two_seconds(tmp_path: Path) -> None:
    source = clip(tmp_path / "source.mp4", picture="s=640x360:r=30000/1001", seconds=5)
    made = await make(tmp_path, source)
    variants = made.master().playlists
    assert [variant.stream_info.resolution for variant in variants] == [(640, 360), (426, 240)]
    times = [keyframes(made.whole(variant.uri)) for variant in variants]
    assert times[0] == times[1]
    assert [float(time) for time in times[0]] == pytest.approx([0, 2.002, 4.004], abs=0.001)


async def test_a_ladder_of_a_tall_picture_goes_by_its_width(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", picture="s=360x640:r=25", seconds=2))
    sizes = [variant.stream_info.resolution for variant in made.master().playlists]
    assert sizes == [(360, 640), (240, 426)]


@pytest.mark.parametrize(
    ("video", "audio", "codecs"),
    [
        ("hevc", "eac3", r"hvc1\.[^,]+,ec-3"),
        ("av1", "opus", r"av01\.[^,]+,[oO]pus"),
        ("vp9", "ac3", r"vp09\.[^,]+,ac-3"),
    ],
)
async def test_other_codecs_are_packaged_and_named(video: str, audio: str, codecs: str, tmp_path: Path) -> None:
    renditions = [
        {"height": 180, "codec": video, "audio_codec": audio},
        {"height": 90, "codec": video, "bitrate": "150k", "audio_codec": audio},
    ]
    made = await make(tmp_path, clip(tmp_path / "source.mkv"), renditions=renditions, segment_time=2)
    variants = made.master().playlists
    assert [bool(re.fullmatch(codecs, variant.stream_info.codecs)) for variant in variants] == [True, True], variants
    assert keyframes(made.whole(variants[0].uri)) == keyframes(made.whole(variants[1].uri))


async def test_progress_grows_to_one(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", seconds=4))
    fractions = [report.fraction for report in made.result.reports if report.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


async def test_decode_verification_reads_every_rendition(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4"), verify="decode")
    assert sum("-f null" in argv and "180p.mp4" in argv for argv in argvs(made)) == 1
