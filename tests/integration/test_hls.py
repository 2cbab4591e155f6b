"""The hls module on real tools: every source of the matrix becomes a presentation that players can take."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import m3u8
import pytest
from media_support import bench_in, clip, ffmpeg

from worker.adapters.host import bundled_tools
from worker.core.errors import BadInput, InvalidJob, LeveretError
from worker.tasks.hls import HlsTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.testing import BenchResult

QUIET = {"poster": False, "storyboard": False}
SRT = "1\n00:00:00,500 --> 00:00:01,200\nGood <i>evening</i>\n\n2\n00:00:01,800 --> 00:00:02,600\nÜber alles\n"


class Made:
    """What a run of the hls module staged, written out as a reader would find it."""

    def __init__(self, result: BenchResult, folder: Path) -> None:
        self.result = result
        self.folder = folder
        for location, staged in result.outputs.items():
            target = folder / location.split("://")[-1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(staged.path.read_bytes())

    def text(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")

    def master(self, name: str = "master.m3u8") -> m3u8.M3U8:
        return m3u8.loads(self.text(name))

    def whole(self, playlist: str) -> Path:
        """Return one file of an fMP4 playlist's initialisation and segments."""
        listed = m3u8.loads(self.text(playlist))
        home = (self.folder / playlist).parent
        target = home / "whole.mp4"
        parts = [home / listed.segment_map[0].uri] if listed.segment_map else []
        parts += [home / segment.uri for segment in listed.segments]
        target.write_bytes(b"".join(part.read_bytes() for part in parts))
        return target


async def make(tmp_path: Path, source: Path, tools: Mapping[str, str] | None = None, **data: Any) -> Made:
    bench = bench_in(tmp_path, **(tools or {}))
    shutil.copy(source, bench.root)
    result = await bench.run_task(HlsTask(), {"source": f"nas://{source.name}", **QUIET, **data})
    return Made(result, tmp_path / "published")


def probe(path: Path, *entries: str) -> dict[str, Any]:
    argv = ("ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", *entries, str(path))
    return json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)


def heard_loudness(path: Path) -> str:
    argv = ("ffmpeg", "-nostdin", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-")
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stderr


def keyframes(path: Path) -> list[str]:
    packets = probe(path, "-select_streams", "v")["packets"]
    return [packet["pts_time"] for packet in packets if packet["flags"].startswith("K")]


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
        {"picture": "s=320x180:r=30", "extra": ("-vf", "select='not(eq(mod(n,5),2))'", "-vsync", "vfr")},
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


async def test_a_rotated_film_is_turned_upright(tmp_path: Path) -> None:
    plain = clip(tmp_path / "plain.mp4")
    turned = tmp_path / "turned.mp4"
    ffmpeg("-i", str(plain), "-c", "copy", "-metadata:s:v:0", "rotate=90", str(turned))
    made = await make(tmp_path, turned)
    assert made.master().playlists[0].stream_info.resolution == (180, 320)


async def test_interlaced_pictures_are_deinterlaced(tmp_path: Path) -> None:
    vf = ("-vf", "tinterlace=interleave_top,setfield=tff", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-b:v", "2M")
    source = clip(tmp_path / "source.ts", picture="s=320x180:r=50", extra=vf)
    bench_made = await make(tmp_path, source)
    (encode,) = [line for line in _argvs(bench_made) if "bwdif" in line]
    assert "bwdif=mode=send_frame" in encode
    assert bench_made.master().playlists[0].stream_info.frame_rate == 25


def _argvs(made: Made) -> list[str]:
    return [" ".join(stage.argv) for pipeline in made.result.pipelines for stage in pipeline.stages]


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


async def test_every_rendition_has_a_playlist_of_its_key_frames_alone(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", picture="s=640x360:r=25", seconds=5))
    variants, stills = made.master().playlists, made.master().iframe_playlists
    assert [still.iframe_stream_info.resolution for still in stills] == [(640, 360), (426, 240)]
    for variant, still in zip(variants, stills, strict=True):
        assert "#EXT-X-I-FRAMES-ONLY" in made.text(still.uri)
        listed = m3u8.loads(made.text(still.uri))
        assert [segment.duration for segment in listed.segments] == pytest.approx([2, 2, 1])
        assert variant.stream_info.bandwidth > still.iframe_stream_info.bandwidth > 0
        home = (made.folder / still.uri).parent
        for segment in listed.segments:
            length, start = map(int, segment.byterange.split("@"))
            part = (home / segment.uri).read_bytes()[start : start + length]
            (home / "still.mp4").write_bytes((home / listed.segment_map[0].uri).read_bytes() + part)
            seen = probe(home / "still.mp4", "-show_frames")["packets_and_frames"]
            (frame,) = [item for item in seen if item["type"] == "frame"]
            assert (frame["pict_type"], frame["width"]) == ("I", still.iframe_stream_info.resolution[0])


async def test_a_ladder_of_a_tall_picture_goes_by_its_width(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", picture="s=360x640:r=25", seconds=2))
    sizes = [variant.stream_info.resolution for variant in made.master().playlists]
    assert sizes == [(360, 640), (240, 426)]


async def test_languages_share_a_group_and_one_is_the_default(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mkv", sounds=3))
    sounds = [media for media in made.master().media if media.type == "AUDIO"]
    assert [(s.language, s.name, s.default, s.channels) for s in sounds] == [
        ("en", "English", "YES", "1"),
        ("ja", "Japanese", "NO", "1"),
        ("de", "German", "NO", "1"),
    ]
    assert len({sound.group_id for sound in sounds}) == 1


async def test_a_rendition_may_have_sounds_of_its_own(tmp_path: Path) -> None:
    renditions = [{"height": 180, "audio_bitrate": "96k", "audio_channels": 2}, {"height": 90, "audio_bitrate": "48k"}]
    made = await make(tmp_path, clip(tmp_path / "source.mkv", sounds=2), renditions=renditions)
    groups = [variant.stream_info.audio for variant in made.master().playlists]
    assert len(set(groups)) == 2
    channels = {media.group_id: media.channels for media in made.master().media}
    assert [channels[group] for group in groups] == ["2", "1"]


async def test_sound_alone_becomes_an_audio_presentation(tmp_path: Path) -> None:
    source = clip(tmp_path / "source.m4a", picture="", sounds=1)
    made = await make(tmp_path, source)
    (variant,) = made.master().playlists
    assert variant.stream_info.codecs == "mp4a.40.2"
    assert variant.stream_info.resolution is None


async def test_text_subtitles_are_segments_on_the_films_clock(tmp_path: Path) -> None:
    (tmp_path / "in.srt").write_text(SRT, "utf-8")
    source = tmp_path / "source.mkv"
    plain = clip(tmp_path / "plain.mp4")
    language = ("-metadata:s:s:0", "language=ger")
    ffmpeg("-i", str(plain), "-i", str(tmp_path / "in.srt"), "-c", "copy", "-c:s", "srt", *language, str(source))
    made = await make(tmp_path, source, segment_time=2)
    (text,) = [media for media in made.master().media if media.type == "SUBTITLES"]
    assert (text.language, text.name) == ("de", "German")
    listed = m3u8.loads(made.text(text.uri))
    assert sum(s.duration for s in listed.segments) == pytest.approx(3, abs=0.1)
    home = Path(text.uri).parent
    first, second = (made.text(str(home / segment.uri)) for segment in listed.segments)
    assert first.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n")
    assert "Good <i>evening</i>" in first
    assert "Über alles" in first
    assert "Über alles" in second
    assert "all.vtt" in made.text("manifest.mpd")


async def test_subtitles_come_from_files_too_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    source = clip(tmp_path / "source.mp4")
    bench = bench_in(tmp_path)
    (bench.root / "s.mp4").write_bytes(source.read_bytes())
    (bench.root / "en.srt").write_text(SRT, "utf-8")
    (bench.root / "no.srt").write_bytes(b"\x00\x01\x02 no subtitle")
    wish = {"source": "nas://en.srt", "language": "eng", "forced": True}
    data = {"source": "nas://s.mp4", **QUIET}
    made = Made(await bench.run_task(HlsTask(), data | {"subtitles": [wish]}), tmp_path / "published")
    (text,) = [media for media in made.master().media if media.type == "SUBTITLES"]
    assert (text.language, text.forced) == ("en", "YES")
    with pytest.raises(BadInput):
        await bench.run_task(HlsTask(), data | {"subtitles": [{"source": "nas://no.srt", "language": "en"}]})


async def test_transport_stream_segments_are_made_on_request(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4"), segment_format="ts")
    (variant,) = made.master().playlists
    assert m3u8.loads(made.text(variant.uri)).segments[0].uri.endswith(".ts")
    assert "manifest.mpd" not in made.result.outputs


async def test_immutable_files_lie_under_the_attempt_and_only_manifests_at_fixed_names(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4"), destination="film/")
    outputs = made.result.outputs
    assert [name for name, staged in outputs.items() if not staged.immutable] == [
        "film/manifest.mpd",
        "film/master.m3u8",
    ]
    assert all(name.startswith("film/e1/") for name, staged in outputs.items() if staged.immutable)
    assert list(outputs)[-1] == made.result.manifest == "film/master.m3u8"


async def test_a_transcode_job_puts_each_output_where_it_says(tmp_path: Path) -> None:
    source = clip(tmp_path / "source.mp4", picture="s=640x360:r=25")
    renditions = [
        {"resolution": "360p", "bitrate": "600k", "codec": "h264_nvenc", "dest_path": "nas://processed/a b/360p/"},
        {"resolution": "180p", "bitrate": "200k", "codec": "h264", "dest_path": "nas://processed/a b/180p"},
    ]
    data = {"renditions": renditions, "hw_fallback": True, "master_playlist_name": "index.m3u8"}
    made = await make(tmp_path, source, **data)
    assert made.result.manifest == "nas://processed/a b/index.m3u8"
    assert any("h264_nvenc" in warning for warning in made.result.warnings)
    outputs = made.result.outputs
    assert not outputs["nas://processed/a b/360p/index.m3u8"].immutable
    assert outputs["nas://processed/a b/360p/e1/360p/00001.m4s"].immutable
    master = made.master("processed/a b/index.m3u8")
    assert [variant.uri for variant in master.playlists] == ["360p/index.m3u8", "180p/index.m3u8"]
    assert master.playlists[0].stream_info.average_bandwidth == pytest.approx(600_000 + 64_000, rel=0.35)
    probe(made.whole("processed/a b/360p/index.m3u8"))


async def test_one_transcode_output_keeps_the_master_name_and_gives_way_with_its_own(tmp_path: Path) -> None:
    renditions = [{"resolution": "180p", "codec": "h264", "dest_path": "nas://done/180p/"}]
    source = clip(tmp_path / "source.mp4")
    made = await make(tmp_path, source, renditions=renditions, master_playlist_name="index.m3u8")
    assert made.result.manifest == "nas://done/180p/index.m3u8"
    assert "nas://done/180p/media.m3u8" in made.result.outputs


async def test_poster_and_storyboard_show_the_film(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", seconds=4), poster=True, storyboard=True)
    assert made.result.thumbnail == "e1/poster.jpg"
    picture = probe(made.folder / "e1/poster.jpg")["streams"][0]
    assert (picture["width"], picture["height"]) == (320, 180)
    (images,) = made.master().image_playlists
    assert images.image_stream_info.resolution == (240, 136)
    listed = m3u8.loads(made.text(images.uri))
    assert listed.is_images_only
    assert [segment.uri for segment in listed.segments] == ["sheet_001.jpg"]
    assert "#EXT-X-TILES:RESOLUTION=240x136,LAYOUT=5x5,DURATION=2.000" in made.text(images.uri)
    cues = made.text("e1/storyboard/storyboard.vtt")
    assert "00:00:02.000 --> 00:00:04.000\nsheet_001.jpg#xywh=240,0,240,136" in cues
    sheet = probe(made.folder / "e1/storyboard/sheet_001.jpg")["streams"][0]
    assert (sheet["width"], sheet["height"]) == (1200, 680)


async def test_the_mpd_names_files_that_are_there(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", sounds=2), storyboard=True)
    templates = re.findall(r'media="([^"]+)"', made.text("manifest.mpd"))
    assert len(templates) == 4
    for template in templates:
        media = re.sub(r"\$Number%0(\d)d\$", lambda match: f"{1:0{match[1]}d}", template)
        assert (made.folder / media).stat().st_size > 0


@pytest.mark.parametrize("target", [-23.0, -16.0])
async def test_a_sound_is_as_loud_as_asked(target: float, tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    # quiet noise with bursts, so that a plain gain to -16 would clip
    noise = "anoisesrc=a=0.02:d=8:c=pink,volume='if(lt(mod(t,2),0.1),12,1)':eval=frame"
    ffmpeg("-f", "lavfi", "-i", noise, "-c:a", "flac", str(source))
    # a lossy codec moves peaks, so the proof is in a lossless one
    sound = {"stream": 0, "codec": "flac", "loudness": {"target": target}}
    made = await make(tmp_path, source, audio=[sound])
    whole = made.whole(made.master().playlists[0].uri)
    said = heard_loudness(whole)
    assert float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1]) == pytest.approx(target, abs=0.5)
    assert float(re.findall(r"Peak:\s+(-?[\d.]+) dBFS", said)[-1]) <= -0.5


async def test_a_rendition_may_have_a_loudness_of_its_own(tmp_path: Path) -> None:
    quiet = {"height": 90, "audio_codec": "flac", "loudness": {"target": -31}}
    made = await make(tmp_path, clip(tmp_path / "source.mkv"), renditions=[{"height": 180}, quiet])
    levels = {}
    for media in made.master().media:
        said = heard_loudness(made.whole(media.uri))
        levels[media.group_id] = float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1])
    untouched, asked = (levels[variant.stream_info.audio] for variant in made.master().playlists)
    assert asked == pytest.approx(-31, abs=0.5)
    assert untouched > -28


async def test_silence_is_left_alone(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    ffmpeg("-f", "lavfi", "-i", "anullsrc=d=2:r=48000", "-c:a", "flac", str(source))
    made = await make(tmp_path, source, loudness={})
    assert any("silent" in warning for warning in made.result.warnings)


async def test_progress_grows_to_one(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", seconds=4))
    fractions = [report.fraction for report in made.result.reports if report.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


@pytest.mark.parametrize(("picture", "sound"), [(2, 3), (3, 2)])
async def test_the_shorter_of_picture_and_sound_is_filled_to_the_end(picture: int, sound: int, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    inputs = ("-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d={picture}", "-f", "lavfi", "-i", f"sine=d={sound}")
    ffmpeg(*inputs, "-c:v", "libx264", "-c:a", "aac", str(source))
    made = await make(tmp_path, source)
    assert made.result.outputs["master.m3u8"].duration == pytest.approx(3, abs=0.1)


async def test_a_live_recording_that_tells_no_length_is_measured(tmp_path: Path) -> None:
    source = tmp_path / "source.webm"
    live = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus", "-live", "1")
    inputs = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2")
    ffmpeg(*inputs, *live, "-f", "webm", str(source))
    made = await make(tmp_path, source)
    assert made.result.outputs["master.m3u8"].duration == pytest.approx(2, abs=0.1)
    assert any("-f null" in argv and "-c copy" in argv for argv in _argvs(made))


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


async def test_a_language_that_the_source_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match=r"audio\[0\].*en"):
        await make(tmp_path, clip(tmp_path / "source.mp4"), audio=[{"language": "fr"}])


async def test_decode_verification_reads_every_rendition(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4"), verify="decode")
    assert sum("-f null" in argv and "180p.mp4" in argv for argv in _argvs(made)) == 1


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
