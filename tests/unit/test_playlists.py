"""Playlists as values, and the judge: every clause is broken once."""

from __future__ import annotations

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.media.hls.playlist_check import Published, Violation, judge
from worker.media.hls.playlists import (
    MediaPlaylist,
    PlaylistError,
    Segment,
    parse_media,
    parse_multivariant,
    render_media,
    render_multivariant,
    target_of,
)
from worker.media.measure import measure

# a playlist's lines are as long as they are
MASTER = """#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="E, US",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="a.m3u8"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="t",NAME="English",LANGUAGE="en",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="t.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=9080,AVERAGE-BANDWIDTH=8276,CODECS="avc1.640015,mp4a.40.2",RESOLUTION=320x180,FRAME-RATE=25.000,VIDEO-RANGE=SDR,AUDIO="s",SUBTITLES="t",CLOSED-CAPTIONS=NONE
v%20x/v.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=400,AVERAGE-BANDWIDTH=400,CODECS="avc1.640015",RESOLUTION=320x180,VIDEO-RANGE=SDR,URI="v%20x/i.m3u8"
"""
HEAD = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n"
VIDEO = HEAD + '#EXT-X-MAP:URI="init.mp4"\n#EXTINF:4.000000,\n1.m4s\n#EXTINF:4.000000,\n2.m4s\n#EXT-X-ENDLIST\n'
SOUND = HEAD + "#EXTINF:4.000000,\na1.m4s\n#EXTINF:4.000000,\na2.m4s\n#EXT-X-ENDLIST\n"
TEXT = HEAD + "#EXTINF:4.000000,\nt1.vtt\n#EXTINF:4.000000,\nt2.vtt\n#EXT-X-ENDLIST\n"
FRAMES = (
    HEAD
    + "#EXT-X-I-FRAMES-ONLY\n"
    + "".join(f"#EXTINF:2.000000,\n#EXT-X-BYTERANGE:100@{offset}\n{n}.m4s\n" for n in (1, 2) for offset in (10, 600))
    + "#EXT-X-ENDLIST\n"
)
CUES = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"
TEXTS = {
    "/f/m.m3u8": MASTER, "/f/v x/v.m3u8": VIDEO, "/f/v x/i.m3u8": FRAMES, "/f/a.m3u8": SOUND, "/f/t.m3u8": TEXT,
    "/f/t1.vtt": CUES, "/f/t2.vtt": CUES,
}  # fmt: skip
SIZES = {
    "/f/v x/init.mp4": 500, "/f/v x/1.m4s": 4000, "/f/v x/2.m4s": 3192, "/f/a1.m4s": 500, "/f/a2.m4s": 484,
    "/f/t1.vtt": 40, "/f/t2.vtt": 40,
}  # fmt: skip


def verdict(changes: dict[str, tuple[str, str]] | None = None, sizes: dict[str, int] | None = None) -> list[Violation]:
    texts = dict(TEXTS)
    for path, (old, new) in (changes or {}).items():
        assert old in texts[path]
        texts[path] = texts[path].replace(old, new)
    return list(judge(Published(texts, SIZES | (sizes or {})), "/f/m.m3u8", 8.0, 2.0))


def test_a_sound_presentation_has_no_violation() -> None:
    assert verdict() == []


BROKEN = [
    ("/f/m.m3u8", "BANDWIDTH=9080", "BANDWIDTH=7900", "1.26"),
    ("/f/m.m3u8", "BANDWIDTH=9080", "BANDWIDTH=10100", "1.26"),
    ("/f/m.m3u8", "AVERAGE-BANDWIDTH=8276", "AVERAGE-BANDWIDTH=7000", "1.27"),
    ("/f/m.m3u8", "AVERAGE-BANDWIDTH=8276,", "", "9.14"),
    ("/f/m.m3u8", "#EXT-X-INDEPENDENT-SEGMENTS\n", "", "9.11"),
    ("/f/m.m3u8", 'CODECS="avc1.640015,mp4a.40.2",', "", "9.1"),
    ("/f/m.m3u8", "RESOLUTION=320x180,FRAME", "FRAME", "9.2"),
    ("/f/m.m3u8", "FRAME-RATE=25.000,", "", "9.15"),
    ("/f/m.m3u8", "FRAME-RATE=25.000,VIDEO-RANGE=SDR,", "FRAME-RATE=25.000,", "9.16"),
    ("/f/m.m3u8", 'LANGUAGE="en",DEFAULT=YES', 'LANGUAGE="English!",DEFAULT=YES', "8.10"),
    ("/f/m.m3u8", ',CHANNELS="2"', "", "RFC 4.3.4.1"),
    ("/f/m.m3u8", 'AUDIO="s"', 'AUDIO="x"', "RFC 4.3.4.2"),
    ("/f/m.m3u8", "#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-NO", "6.1"),
    ("/f/m.m3u8", "a.m3u8", "b.m3u8", "RFC 4.3.4"),
    ("/f/v x/v.m3u8", "init.mp4", "gone.mp4", "RFC 4.3.2"),
    ("/f/v x/v.m3u8", "2.m4s", "3.m4s", "RFC 4.3.2"),
    ("/f/v x/v.m3u8", "#EXT-X-ENDLIST\n", "", "RFC 4.3.3"),
    ("/f/v x/v.m3u8", "TARGETDURATION:4", "TARGETDURATION:3", "RFC 4.3.3.1"),
    ("/f/v x/i.m3u8", "BYTERANGE:100@600", "BYTERANGE:100@3990", "RFC 4.3.2"),
    ("/f/v x/i.m3u8", "#EXTINF:2.000000", "#EXTINF:4.000000", "6.1"),
    ("/f/a.m3u8", "TARGETDURATION:4", "TARGETDURATION:5", "8.2"),
    ("/f/a.m3u8", "#EXTINF:4.000000,\na2", "#EXTINF:3.000000,\na2", "8.3"),
    ("/f/t.m3u8", "#EXTINF:4.000000,\nt2.vtt\n", "", "8.3"),
    ("/f/t2.vtt", "X-TIMESTAMP-MAP", "NOTE", "5.3"),
    ("/f/a.m3u8", "#EXTM3U", "WEBVTT", "RFC 4.3.3"),
]


@pytest.mark.parametrize(("path", "old", "new", "clause"), BROKEN)
def test_every_broken_clause_is_reported(path: str, old: str, new: str, clause: str) -> None:
    found = verdict({path: (old, new)})
    assert clause in {violation.clause for violation in found if violation.must}, found


def test_an_empty_segment_is_reported_and_a_high_peak_only_advised_against() -> None:
    assert any("missing or empty" in str(violation) for violation in verdict(sizes={"/f/a1.m4s": 0}))
    peaks = [v for v in verdict(sizes={"/f/v x/1.m4s": 90_000, "/f/v x/2.m4s": 100}) if v.clause == "1.30"]
    assert peaks == [] or not any(violation.must for violation in peaks)


def test_a_peak_is_that_of_the_worst_run_of_half_to_one_and_a_half_targets() -> None:
    rate = measure([6, 6, 6, 1], [600, 1200, 600, 9000], 6)
    assert rate.average == round(8 * 11400 / 19)
    # the last second alone is too short to count; with the segment before it, it counts
    assert rate.peak == round(8 * 9600 / 7)
    assert measure([], [], 6).peak == 0
    assert measure([1.0], [100], 6).peak == 800


def test_playlists_survive_being_read_and_written() -> None:
    assert render_multivariant(parse_multivariant(MASTER)) == MASTER
    for text in (VIDEO, SOUND, TEXT, FRAMES):
        assert render_media(parse_media(text)) == text


@given(st.lists(st.floats(0.1, 59), min_size=1, max_size=30), st.sampled_from(["i.mp4", None]))
def test_the_m3u8_package_reads_our_playlists(durations: list[float], mapped: str | None) -> None:
    segments = tuple(Segment(f"{n}.m4s", seconds, (n + 1, n)) for n, seconds in enumerate(durations))
    text = render_media(MediaPlaylist(segments, target_of(durations), mapped))
    other = m3u8.loads(text)
    assert [segment.uri for segment in other.segments] == [segment.uri for segment in segments]
    assert sum(segment.duration for segment in other.segments) == pytest.approx(sum(durations), abs=1e-4)
    assert all(round(seconds) <= other.target_duration for seconds in durations)
    assert parse_media(text).duration == pytest.approx(sum(durations), abs=1e-4)


@given(st.text(max_size=40))
def test_no_title_breaks_out_of_its_quotes(title: str) -> None:
    playlist = parse_multivariant(MASTER)
    entry = playlist.entries[0]
    evil = type(entry)(entry.tag, {**entry.attributes, "NAME": title}, entry.uri)
    text = render_multivariant(type(playlist)((evil, *playlist.entries[1:])))
    assert len(parse_multivariant(text).entries) == len(playlist.entries)
    assert parse_multivariant(text).entries[0].uri == entry.uri


@pytest.mark.parametrize(
    "text", ["", "WEBVTT", "#EXTM3U\n#EXTINF:1,\na", "#EXTM3U\n#EXT-X-TARGETDURATION:1\na", HEAD + "#EXTINF:x,\na"]
)
def test_a_malformed_media_playlist_is_refused(text: str) -> None:
    with pytest.raises(PlaylistError):
        parse_media(text)
