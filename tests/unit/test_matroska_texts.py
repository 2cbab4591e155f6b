"""WebVTT tracks of Matroska, read block by block: what a muxer may write, and what a stranger may."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.media.matroska.texts import webvtt_track
from worker.media.webvtt import Cue, CueError


def element(name: str, *parts: bytes, unknown: bool = False) -> bytes:
    """Return an element with an ID as Matroska's tables print it."""
    content = b"".join(parts)
    size = b"\xff" if unknown else (0x10000000 | len(content)).to_bytes(4)
    return bytes.fromhex(name) + size + content


def cue(at: int, text: bytes, *, length: int | None = 500, said: bytes = b"", track: int = 2, flags: int = 0) -> bytes:
    block = element("a1", bytes([0x80 | track]), at.to_bytes(2, signed=True), bytes([flags]), text)
    duration = element("9b", length.to_bytes(2)) if length is not None else b""
    additions = element("75a1", element("a6", element("ee", b"\x01"), element("a5", said))) if said else b""
    return element("a0", block, duration, additions)


def film(
    *cues: bytes, private: bytes = b"", packing: bytes = b"", clusters_end: bool = True, scale: int = 0
) -> io.BytesIO:
    """Return a file of a picture and a WebVTT track, whose one cluster begins after 10 s."""
    video = element("ae", element("d7", b"\x01"), element("83", b"\x01"), element("86", b"V_MPEG4/ISO/AVC"))
    codec = element("86", b"S_TEXT/WEBVTT") + element("63a2", private)
    text = element("ae", element("d7", b"\x02"), element("83", b"\x11"), codec, packing)
    info = element("1549a966", element("2ad7b1", scale.to_bytes(4))) if scale else b""
    picture = element("a3", b"\x81\x00\x00\x80", b"picture " * 20)
    cluster = element("1f43b675", element("e7", (10_000).to_bytes(2)), picture, *cues, unknown=not clusters_end)
    segment = element("18538067", info, element("1654ae6b", video, text), cluster, unknown=True)
    return io.BytesIO(element("1a45dfa3") + segment)


def compressed(algorithm: int, settings: bytes = b"") -> bytes:
    inner = element("5034", element("4254", bytes([algorithm])), element("4255", settings))
    return element("6d80", element("6240", element("5032", b"\x01"), inner))


def test_a_cue_has_its_text_its_time_and_its_settings() -> None:
    said = b"line:10% align:start\nintro\nNOTE a note"
    read = webvtt_track(film(cue(250, b"Loud &amp; clear\n\nagain", said=said), cue(-500, b"before")), 0)
    assert read.cues == (
        Cue(9.5, 10.0, "before"), Cue(10.25, 10.75, "Loud &amp; clear\nagain", "line:10% align:start"),
    )  # fmt: skip


def test_times_are_counted_from_the_begin_of_the_film_also_those_within_a_cue() -> None:
    read = webvtt_track(film(cue(250, b"one <00:00:00.100>two")), 0, begin=10.0)
    assert read.cues == (Cue(0.25, 0.75, "one <00:00:00.350>two"),)


def test_another_time_scale_and_a_cluster_of_unknown_size_are_read() -> None:
    read = webvtt_track(film(cue(500, b"one"), cue(600, b"two"), clusters_end=False, scale=100_000), 0)
    assert [(one.start, one.text) for one in read.cues] == [(1.05, "one"), (1.06, "two")]


@pytest.mark.parametrize(
    ("packing", "stored"),
    [
        (compressed(0), zlib.compress(b"a small text")),
        (compressed(3, b"a sm"), b"all text"),
    ],
    ids=["zlib", "header removed"],
)  # fmt: skip
def test_compressed_blocks_are_read(packing: bytes, stored: bytes) -> None:
    assert [one.text for one in webvtt_track(film(cue(0, stored), packing=packing), 0).cues] == ["a small text"]


@pytest.mark.parametrize(
    ("packing", "stored"),
    [(compressed(1), b"BZh"), (compressed(0), b"no zlib"), (compressed(0), zlib.compress(bytes(2 << 20)))],
    ids=["bzip2", "broken", "a bomb"],
)
def test_a_block_that_cannot_be_unpacked_is_no_empty_subtitle(packing: bytes, stored: bytes) -> None:
    with pytest.raises(CueError):
        webvtt_track(film(cue(0, stored), packing=packing), 0)


def test_blocks_of_other_tracks_without_a_length_or_in_laces_are_no_cues() -> None:
    odd = (cue(0, b"another", track=1), cue(10, b"endless", length=None), cue(20, b"laced", flags=4))
    assert [one.text for one in webvtt_track(film(*odd, cue(30, b"the one")), 0).cues] == ["the one"]


def test_a_text_begins_no_cue_and_no_style_of_its_own() -> None:
    hostile = b"00:00:00.000 --> 09:00:00.000\nfor ever\n\nSTYLE\n::cue { color: red }"
    read = webvtt_track(film(cue(0, hostile), private=b"WEBVTT\n\nSTYLE\n::cue(b) { color: lime }"), 0)
    assert [(one.start, one.end) for one in read.cues] == [(10.0, 10.5)]
    assert read.blocks == ("STYLE\n::cue(b) { color: lime }",)


@pytest.mark.parametrize("stream", [1, 7])
def test_a_stream_that_is_not_there_is_no_track(stream: int) -> None:
    with pytest.raises(CueError, match="no WebVTT track"):
        webvtt_track(film(), stream)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_bytes_break_the_reading(noise: bytes, at: int) -> None:
    whole = film(cue(0, b"one"), cue(600, b"two")).getvalue()
    at = min(at, len(whole))
    try:
        read = webvtt_track(io.BytesIO(whole[:at] + noise + whole[at + len(noise) :]), 0)
    except CueError:
        return
    assert all(one.end > one.start for one in read.cues)
