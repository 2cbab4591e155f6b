"""Language tags, and the tracks of a Matroska file that say them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.media.languages import bcp47, find_language, is_language, is_tag, name_of
from worker.media.matroska.tracks import tracks_of

HEAD = b"\x1aE\xdf\xa3\x80\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff"


def track(kind: int, tag: bytes) -> bytes:
    fields = b"\x83\x81" + bytes([kind]) + (b"\x22\xb5\x9d" + bytes([0x80 | len(tag)]) + tag if tag else b"")
    return b"\xae" + bytes([0x80 | len(fields)]) + fields


def tracks(*parts: bytes) -> bytes:
    content = b"".join(parts)
    return b"\x16T\xaek" + bytes([0x80 | len(content)]) + content


def languages(data: bytes) -> list[tuple[str | None, str | None]]:
    return [(track.kind, track.language) for track in tracks_of(io.BytesIO(data))]


@pytest.mark.parametrize("text", ["en\n", "en-" + "a" * 9, "en" + "-abcdefgh" * 4, "e", "en_US", "", "en-", "\nen"])
def test_a_text_without_the_form_of_a_tag_is_no_tag(text: str) -> None:
    assert not is_tag(text)


@pytest.mark.parametrize(
    ("code", "tag"),
    [
        ("iw", "he"),
        ("pt-br", "pt-BR"),
        ("chi", "zh"),
        ("ZH-HANT-tw", "zh-Hant-TW"),
        ("en-1", "en"),
        ("x" * 99, "und"),
        ("zh-cmn", "cmn"),
        ("zh-yue-HK", "yue-HK"),
        ("ar-arb", "arb"),
        ("in", "id"),
        ("sh", "sr-Latn"),
        ("mo", "ro"),
        ("de-DE-1996", "de-DE-1996"),
        ("x-private", "und"),
    ],
)
def test_a_language_code_becomes_its_bcp47_tag(code: str, tag: str) -> None:
    assert bcp47(code) == tag


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("zh-Hans", "Chinese (Simplified)"), ("zh-Hant", "Chinese (Traditional)"), ("pt-PT", "Portuguese (Portugal)"),
        ("es-419", "Spanish (Latin America)"), ("qaa", "qaa"), ("xyz", "xyz"), ("und", "Unknown"),
    ],
)  # fmt: skip
def test_names_state_script_and_region(tag: str, name: str) -> None:
    assert name_of(tag) == name


def test_a_language_finds_itself_before_its_kinds_and_a_kind_finds_no_other() -> None:
    assert find_language("pt", ["pt-BR", "por"]) == 1
    assert find_language("pt", ["en", "pt-BR"]) == 1
    assert find_language("pt-BR", ["por", "pt-PT"]) is None
    assert is_language("zh-Hant", "zho")
    assert not is_language("zho", "zh-Hant")


def test_tracks_say_their_languages() -> None:
    data = HEAD + b"\xec\x82\x00\x00" + tracks(track(1, b""), track(2, b"pt-PT"), track(17, b"zh-Hant\x00"))
    assert languages(data) == [("video", None), ("audio", "pt-PT"), ("subtitle", "zh-Hant")]
    assert languages(HEAD + b"\x1fC\xb6u\x80" + tracks(track(2, b"en"))) == []


def test_tracks_behind_the_clusters_are_found_by_the_index() -> None:
    seek = b"\x53\xab\x84\x16T\xaek\x53\xac\x81\x18"
    index = b"\x11M\x9bt" + bytes([0x80 | (len(seek) + 3)]) + b"\x4d\xbb" + bytes([0x80 | len(seek)]) + seek
    cluster = b"\x1fC\xb6u\x80"
    data = HEAD + (index + cluster).ljust(0x18, b"\x00") + tracks(track(2, b"pt-PT"))
    assert languages(data) == [("audio", "pt-PT")]


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_the_reading_of_tracks(data: bytes, with_head: bool) -> None:  # noqa: FBT001
    for kind, tag in languages((HEAD if with_head else b"") + data):
        assert kind in {None, "video", "audio", "subtitle"}
        assert tag is None or is_tag(tag)
