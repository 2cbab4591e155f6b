"""Conditions: a small typed language on what a source is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.errors import InvalidJob
from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.conditions import FACTS, Kind, compile_condition, fact_text, facts_of

FACTS_OF_A_FILM = {
    "source.stem": "a film", "bytes": 5e9, "container": ("matroska", "webm"), "duration": 700.0,
    "video.height": 1080.0, "video.codec": "hevc", "video.hdr": True, "audio.languages": ("en-US", "de"),
    "audio.codecs": ("ac3",), "audio.count": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("video.height >= 720 and 'eng' in audio.languages", True),
        ("video.height >= 720 and 'fr' in audio.languages", False),
        ("video.height < 720 or video.codec == 'h265'", True),
        ("video.codec != 'HEVC'", False),
        ("video.codec in ['h264', 'hevc']", True),
        ("video.codec not in ['h264', 'hevc']", False),
        ("'ger' in audio.languages and 'en' in audio.languages", True),
        ("'fr' not in audio.languages", True),
        ("'webm' in container", True),
        ("not video.hdr", False),
        ("not not video.hdr", True),
        ("not (video.hdr and audio.count == 2)", False),
        ("duration > 10min and duration < 0.5h and bytes > 4GiB and bytes < 6 GB".replace("6 GB", "6GB"), True),
        ("source.stem == 'a film'", True),
        ('"a film" == source.stem', True),
        ("true", True),
        ("video.hdr == false", False),
        # What the source does not have is neither equal nor unequal to anything.
        ("audio.channels == 6", False),
        ("audio.channels != 6", False),
        ("video.interlaced", False),
        ("'en' in subtitles.languages", False),
        ("'en' not in subtitles.languages", True),
    ],
)
def test_a_condition_holds_for_what_a_source_is(text, holds):
    assert compile_condition(text).holds(FACTS_OF_A_FILM) is holds


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("height > 720", "did you mean 'video.height'?"),
        ("video.hight > 720", "did you mean 'video.height'?"),
        ("wideo.heigth > 720", "did you mean 'video.height'?"),
        ("video.height > '720'", "'720' is a text"),
        ("video.codec > 'a'", "no order"),
        ("video.codec", "compare it with something"),
        ("audio.languages == 'en'", "write 'text' in audio.languages"),
        ("'en' in video.codec", "after `in` comes a list"),
        ("5 in audio.languages", "5' is a number"),
        ("'engl;ish' in audio.languages", "is no language"),
        ("video.codec == 'libx264'", "is how a stream is made"),
        ("duration > 10parsec", "unknown unit 'parsec'"),
        ("video.height = 720", "'= 720' at character 14"),
        ("video.height >", "at the end: a name, a number or a text is expected"),
        ("(video.hdr", ") is expected"),
        ("video.hdr video.hdr", "and, or, or the end is expected"),
        ("__import__('os')", "unknown name '__import__'"),
        ("'a' if true else 'b'", "compare it with something"),
        ("(" * 40 + "true" + ")" * 40, "nested deeper"),
        ("not " * 40 + "true", "nested deeper"),
        ("true or " * 200 + "true", "at most 1000 characters"),
    ],
)
def test_a_faulty_condition_is_refused_with_the_place_of_its_fault(text, word):
    with pytest.raises(InvalidJob) as caught:
        compile_condition(text)
    assert word in str(caught.value)


def test_variables_are_texts_and_numbers_in_conditions():
    condition = compile_condition("quality >= 20 and mode == 'fast'", {"quality": Kind.NUMBER, "mode": Kind.TEXT})
    assert condition.holds({"quality": 22.0, "mode": "fast"})
    assert not condition.holds({"quality": 18.0, "mode": "fast"})
    with pytest.raises(InvalidJob, match="is a number"):
        compile_condition("quality == 'x'", {"quality": Kind.NUMBER})


@given(st.text(alphabet="()[],'\"<>=! \nandornotinvideo.height0123456789xé\x00", max_size=80))
def test_any_text_is_a_condition_or_is_refused(text):
    try:
        condition = compile_condition(text)
    except InvalidJob:
        return
    assert condition.holds({}) in {True, False}


def test_the_facts_of_a_file_follow_from_its_probe():
    video = StreamInfo(
        0, "video", "hevc", width=1080, height=1920, rotation=90, pixel_format="yuv420p10le", field_order="tt",
        color_transfer="smpte2084",
    )  # fmt: skip
    sound = [StreamInfo(1, "audio", "ac3", language="eng", channels=6), StreamInfo(2, "audio", "aac", channels=2)]
    text = StreamInfo(3, "subtitle", "subrip", language="ger", dispositions=frozenset({"forced"}))
    info = MediaInfo("matroska,webm", 10.0, 0.0, 1_000_000, None, (video, *sound, text), chapters=2)
    facts = facts_of(info)
    assert facts.keys() <= FACTS.keys()
    assert (facts["video.width"], facts["video.height"], facts["video.short_side"]) == (1920, 1080, 1080)
    assert (facts["video.depth"], facts["video.hdr"], facts["video.interlaced"]) == (10, True, True)
    assert facts["bitrate"] == facts["video.bitrate"] == 800_000
    assert (facts["audio.languages"], facts["audio.channels"]) == (("en", "und"), 6)
    assert (facts["subtitles.languages"], facts["subtitles.forced"]) == (("de",), True)
    assert "video.fps" not in facts
    silent = facts_of(MediaInfo("wav", 1.0, 0.0, 10, 80, (sound[1],)))
    assert silent["video.count"] == 0
    assert "video.codec" not in silent


@pytest.mark.parametrize(
    ("value", "text"), [(1080.0, "1080"), (23.976, "23.976"), (True, "true"), (("en", "de"), "en,de"), ("x", "x")]
)
def test_a_fact_in_a_text_looks_as_people_write_it(value, text):
    assert fact_text(value) == text
