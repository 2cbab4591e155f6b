"""The hls module's sounds and texts: languages, channels, loudness and subtitles."""

from __future__ import annotations

import re
from pathlib import Path

import m3u8
import pytest

from tests.support.hls import QUIET, SRT, Made, heard_loudness, make
from tests.support.media import bench_in, clip, ffmpeg
from worker.core.errors import BadInput
from worker.tasks.hls import HlsTask


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
    one = {"source": "nas://en.srt", "language": "eng", "forced": True}
    data = {"source": "nas://s.mp4", **QUIET}
    made = Made(await bench.run_task(HlsTask(), data | {"subtitles": [one]}), tmp_path / "published")
    (text,) = [media for media in made.master().media if media.type == "SUBTITLES"]
    assert (text.language, text.forced) == ("en", "YES")
    with pytest.raises(BadInput):
        await bench.run_task(HlsTask(), data | {"subtitles": [{"source": "nas://no.srt", "language": "en"}]})


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
