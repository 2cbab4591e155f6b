"""From a job and a source to a plan, its places and its commands."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.errors import BadInput, InvalidJob
from worker.core.job import TaskSpec
from worker.core.media_info import MediaInfo, StreamInfo
from worker.core.message.dialects import decode
from worker.media.ffmpeg.encoders import video_options
from worker.media.hls.encode import encode_command
from worker.media.hls.layout import common_folder, layout_of, relative_uri, under
from worker.media.hls.packager import Input, packager_command
from worker.media.hls.params import HlsParams
from worker.media.hls.plan import Host, plan_of
from worker.media.languages import bcp47, is_tag, name_of
from worker.media.loudness import Loudness, gain_for, needs_limiter, parse_loudness
from worker.media.webvtt import Cue, CueError, parse_webvtt, render_cues, segment_cues
from worker.registry import Registry
from worker.tasks.hls import HlsTask
from worker.testing import check_task

GOLDEN = Path(__file__).parent / "golden"
SOURCE = MediaInfo(
    container="mov,mp4,m4a,3gp,3g2,mj2",
    duration=60.06,
    start=0.0,
    bytes=1,
    bitrate_bps=None,
    streams=(
        StreamInfo(
            0, "video", "h264", width=1280, height=720, frame_rate=Fraction(30000, 1001), start=0.0, duration=60.06
        ),
        StreamInfo(1, "audio", "aac", language="eng", channels=6, start=0.0, duration=60.0),
        StreamInfo(2, "audio", "aac", language="ger", channels=1, start=0.0, duration=60.0),
        StreamInfo(3, "subtitle", "subrip", language="eng"),
        StreamInfo(4, "subtitle", "hdmv_pgs_subtitle", language="eng"),
    ),
)


def params(**data: Any) -> HlsParams:
    parsed = Registry({"hls": HlsTask()}).parse(TaskSpec("hls", {"source": "a.mp4", **data}, "data"))[1]
    assert isinstance(parsed, HlsParams)
    return parsed


def lines(argv: tuple[str, ...]) -> str:
    return "".join(f"{argument}\n" for argument in argv)


def test_the_task_keeps_the_rules_of_the_plug_in_api() -> None:
    rendition = {"height": 720, "dest_path": "nas://a/b/", "bitrate": "2M"}
    check_task(HlsTask(), {"source": "a.mp4", "renditions": [rendition], "subtitles": [{"source": "a.srt"}]})
    check_task(HlsTask(), {"source": "a.mp4"})


@pytest.mark.parametrize("name", ["ladder", "hardware"])
def test_commands_are_as_they_were_agreed(name: str) -> None:
    requested = [{"height": 480, "codec": "hevc_vaapi", "bitrate": "1M"}, {"height": 240, "codec": "h264_nvenc"}]
    host = Host(frozenset({"hevc_vaapi", "h264_nvenc"}), render_node="/dev/dri/renderD129")
    plan = plan_of(params(renditions=requested) if name == "hardware" else params(), SOURCE, host)
    argv = encode_command(plan.encoding(Path("/in/film.mp4")), "ffmpeg", Path("/out")).argv
    assert lines(argv) == (GOLDEN / f"hls-{name}.txt").read_text("utf-8")


def test_the_smallest_pictures_are_of_level_2_and_others_of_what_they_need() -> None:
    requested = [{"height": 240, "codec": "h264"}, {"height": 90}, {"height": 90, "bitrate": "2M"}]
    plan = plan_of(params(renditions=requested), SOURCE, Host())
    assert plan.picture is not None
    options = [video_options(rendition, plan.picture.timing) for rendition in plan.picture.renditions]
    assert [option[option.index("-level:v") + 1] if "-level:v" in option else "" for option in options] == ["", "2", ""]


def test_packager_gets_names_without_folders() -> None:
    inputs = (Input("720p"), Input("audio0-en", "en", "sound-1"), Input("audio1-und", "und", "sound-1"))
    argv = packager_command("packager", Path("/x,y=z"), inputs, Fraction(1001, 500) * 3, Fraction(1001, 500)).argv
    assert lines(argv) == (GOLDEN / "packager.txt").read_text("utf-8")


def test_a_transcode_message_becomes_valid_data() -> None:
    body = b"""{"job_id": "j", "input": {"source_url": "movies/a.mkv", "format": "mkv"},
      "outputs": [{"resolution": "720p", "bitrate": "2500k", "codec": "h264_nvenc", "dest_path": "processed/a/720p/"}],
      "hls_settings": {"master_playlist_name": "index.m3u8", "segment_time": 6}}"""
    (spec,) = decode(body).tasks
    task = HlsTask()
    found = Registry({"hls": task}).parse(spec)[1]
    assert isinstance(found, HlsParams)
    assert [use.location for use in task.files(found).writes] == [
        "nas://processed/a/720p/index.m3u8",
        "nas://processed/a/720p/manifest.mpd",
        "nas://processed/a/720p/media.m3u8",
    ]
    assert "encoder:h264_nvenc" not in task.requires(found)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"renditions": [{"resolution": "big"}]}, "data.renditions[0].resolution"),
        ({"renditions": [{"height": 720, "resolution": "720p"}]}, "data.renditions[0]"),
        ({"renditions": [{"height": 720, "codec": "h266"}]}, "data.renditions[0].codec"),
        ({"renditions": [{"height": 720, "bitrate": 2500}]}, "data.renditions[0].bitrate"),
        ({"master_playlist_name": "../x.m3u8"}, "data.master_playlist_name"),
        ({"segment_time": 0}, "data.segment_time"),
        ({"segmenttime": 6}, "data.segmenttime"),
        ({"audio": [{}]}, "data.audio[0]"),
    ],
)
def test_wrong_data_is_reported_at_its_place(data: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        params(**data)
    assert caught.value.problems[0].path == path


def test_sounds_are_stereo_or_mono_and_pictures_of_words_are_left_out() -> None:
    plan = plan_of(params(), SOURCE, Host())
    assert [(s.language, s.channels, s.bitrate_bps) for s in plan.sounds] == [("en", 2, 128_000), ("de", 1, 64_000)]
    assert [text.language for text in plan.texts] == ["en"]
    assert any("pictures" in warning for warning in plan.warnings)


def test_a_rendition_above_the_source_is_made_in_its_size_with_a_warning() -> None:
    plan = plan_of(params(renditions=[{"resolution": "4k"}]), SOURCE, Host())
    assert plan.picture is not None
    assert str(plan.picture.renditions[0].size) == "1280x720"
    assert any("4k" in warning for warning in plan.warnings)


def test_hardware_that_is_not_proved_gives_way_only_when_it_may() -> None:
    one = [{"height": 480, "codec": "hevc_nvenc"}]
    assert plan_of(params(renditions=one, hw_fallback=True), SOURCE, Host()).hardware == frozenset()
    assert plan_of(params(renditions=one), SOURCE, Host()).hardware == {"hevc_nvenc"}
    assert HlsTask().requires(params(renditions=one)) >= {"encoder:hevc_nvenc"}


def test_a_source_of_nothing_or_of_unknown_length_is_bad_input() -> None:
    with pytest.raises(BadInput, match="neither"):
        plan_of(params(), MediaInfo("mov", 1.0, 0.0, 1, None, ()), Host())
    with pytest.raises(BadInput, match="how long"):
        plan_of(
            params(),
            MediaInfo("h264", None, 0.0, 1, None, (StreamInfo(0, "video", "h264", width=2, height=2),)),
            Host(),
        )


@pytest.mark.parametrize(
    ("folders", "common"),
    [
        (["nas://a/b/720p/"], "nas://a/b/720p/"),
        (["nas://a/b/720p/", "nas://a/b/360p/"], "nas://a/b/"),
        (["nas://a/", "nas://b/"], "nas://"),
        (["s3://k/a/x/", "s3://k/a/y/"], "s3://k/a/"),
        (["/mnt/a/x/", "/mnt/a/y/"], "/mnt/a/"),
        (["a/x/", "a/y/"], "a/"),
        (["x/", "y/"], ""),
    ],
)
def test_several_outputs_meet_in_their_common_folder(folders: list[str], common: str) -> None:
    assert common_folder(folders) == common
    assert under(common, "m") == f"{common}m"


def test_outputs_in_different_storages_cannot_name_each_other() -> None:
    with pytest.raises(InvalidJob):
        common_folder(["nas://a/", "s3://b/c/"])
    with pytest.raises(InvalidJob):
        layout_of("nas://a/", "e1", "m.m3u8", ["720p"], {"720p": "s3://b/c/"})


def test_uris_are_relative_and_encoded() -> None:
    assert relative_uri("nas://a/m.m3u8", "nas://a/b c/#1.m4s") == "b%20c/%231.m4s"
    assert relative_uri("e1/x/index.m3u8", "e1/x/1.m4s") == "1.m4s"
    assert relative_uri("s3://k/a/b/m.mpd", "s3://k/c%20/$Number$/1.m4s") == "../../c%2520/%24Number%24/1.m4s"


def test_language_codes_become_the_shortest_tags() -> None:
    assert [bcp47(code) for code in ("eng", "ger", "deu", "pt-BR", "JPN", "tlh", "", None, "no language")] == [
        *("en", "de", "de", "pt-BR", "ja", "tlh", "und", "und", "und")
    ]
    assert (name_of("de"), name_of("pt-BR"), name_of("und"), name_of("tlh")) == (
        "German",
        "Portuguese (Brazil)",
        "Unknown",
        "Klingon",
    )
    assert is_tag("zh-Hant-TW")
    assert not is_tag("english language")


CUES = st.lists(
    st.tuples(
        st.integers(0, 90_000), st.integers(1, 20_000), st.from_regex(r"[a-z]{1,8}( [a-z]{1,8})?", fullmatch=True)
    ),
    max_size=20,
)


@given(CUES, st.lists(st.sampled_from([2.0, 6.006, 0.5]), min_size=1, max_size=20))
def test_every_cue_is_in_every_segment_during_which_it_is_visible(
    found: list[tuple[int, int, str]], durations: list[float]
) -> None:
    cues = parse_webvtt(render_cues(tuple(Cue(s / 1000, (s + n) / 1000, text) for s, n, text in found))).cues
    assert len(cues) == len(set(found))
    start = 0.0
    for duration, part in zip(durations, segment_cues(cues, durations), strict=True):
        end = start + duration
        assert set(part) == {cue for cue in cues if cue.start < end and cue.end > start}
        assert "X-TIMESTAMP-MAP=MPEGTS:9000,LOCAL:00:00:00.000" in render_cues(part, first_tick=9000)
        start = end


def test_notes_styles_and_numbers_are_no_cues() -> None:
    blocks = (
        "\ufeffWEBVTT - t",
        "NOTE x --> y",
        "STYLE\r\n::cue{}",
        "7\r\n01:02.003 --> 01:00:00.000 line:0\r\na\r\nb\r\n",
    )
    text = "\r\n\r\n".join(blocks)
    assert parse_webvtt(text).cues == (Cue(62.003, 3600.0, "a\nb", "line:0"),)
    with pytest.raises(CueError):
        parse_webvtt("1\n00:00:01,000 --> 00:00:02,000\nx")


def test_loudness_is_read_and_answered_with_one_gain() -> None:
    said = "  Integrated loudness:\n    I:         -31.5 LUFS\n  True peak:\n    Peak:       -9.0 dBFS\n"
    loudness = parse_loudness(said)
    assert loudness == Loudness(-31.5, -9.0)
    assert gain_for(loudness, -23) == 8.5
    assert needs_limiter(loudness, 8.5, -1.0)
    assert not needs_limiter(loudness, 7.9, -1.0)
    assert gain_for(Loudness(-70.0, float("-inf")), -23) == 0
    assert parse_loudness("") is None


MANY = MediaInfo(
    "matroska,webm", 60.0, 0.0, 1, None,
    (
        SOURCE.streams[0],
        StreamInfo(1, "audio", "ac3", language="eng", channels=2, dispositions=frozenset({"comment"})),
        StreamInfo(2, "audio", "aac", language="eng", channels=2),
        StreamInfo(3, "audio", "aac", language="pt-BR", channels=2),
        StreamInfo(4, "subtitle", "hdmv_pgs_subtitle", language="eng"),
        StreamInfo(5, "subtitle", "subrip", language="eng"),
        StreamInfo(6, "subtitle", "subrip", language="eng", dispositions=frozenset({"forced"})),
        StreamInfo(7, "subtitle", "subrip", language="deu"),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "sounds"),
    [
        ({"language": "en"}, [0]),
        ({"language": "eng", "source_codec": "aac"}, [1]),
        ({"language": "eng", "every": True}, [0, 1]),
        ({"disposition": "comment"}, [0]),
        ({"source_codec": "aac", "every": True}, [1, 2]),
        ({"language": "pt"}, [2]),
    ],
)
def test_sounds_are_chosen_by_what_they_are_the_first_or_all(asked: dict[str, Any], sounds: list[int]) -> None:
    plan = plan_of(params(audio=[asked]), MANY, Host())
    assert [sound.stream for sound in plan.sounds] == sounds


@pytest.mark.parametrize(
    ("asked", "texts"),
    [
        # Pictures are no text: the first of the language that can be made.
        ({"language": "eng"}, [(1, False)]),
        ({"language": "eng", "disposition": "forced"}, [(2, True)]),
        ({"language": "eng", "every": True}, [(1, False), (2, False)]),
        ({"source_codec": "srt", "every": True}, [(1, False), (2, False), (3, False)]),
        ({"language": "deu"}, [(3, False)]),
    ],
)
def test_subtitles_are_chosen_by_what_they_are_the_first_or_all(
    asked: dict[str, Any], texts: list[tuple[int, bool]]
) -> None:
    plan = plan_of(params(subtitles=[asked]), MANY, Host())
    assert [(text.stream, text.forced) for text in plan.texts] == texts


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"audio": [{"language": "fra"}]}, r"audio\[0\]"),
        ({"subtitles": [{"language": "fra"}]}, r"has 4 subtitles \(en hdmv_pgs_subtitle, en subrip"),
    ],
)
def test_a_choice_that_nothing_matches_is_refused_with_what_there_is(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        plan_of(params(**data), MANY, Host())
