from __future__ import annotations

import pytest

from worker.core.media_types import IMMUTABLE, MANIFEST, REPLACEABLE, cache_control_of, media_type_of


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("master.m3u8", "application/vnd.apple.mpegurl"),
        ("manifest.mpd", "application/dash+xml"),
        ("init.mp4", "video/mp4"),
        ("00001.m4s", "video/iso.segment"),
        ("1.ts", "video/mp2t"),
        ("en.vtt", "text/vtt"),
        ("Film.MKV", "video/matroska"),
        ("film.webm", "video/webm"),
        ("a.m4a", "audio/mp4"),
        ("a.opus", "audio/ogg"),
        ("poster.jpg", "image/jpeg"),
        ("poster.png", "image/png"),
        ("facts.json", "application/json"),
        ("s3://media/a.b/c.m3u8", "application/vnd.apple.mpegurl"),
        ("a.m3u8/b", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("m3u8", "application/octet-stream"),
        (".mp4", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_suffix_states_the_media_type(name, media_type):
    assert media_type_of(name) == media_type


@pytest.mark.parametrize(
    ("role", "name", "immutable", "rule"),
    [
        ("segment", "e1/1.m4s", True, IMMUTABLE),
        ("playlist", "e1/v.m3u8", True, IMMUTABLE),
        ("playlist", "v.m3u8", False, MANIFEST),
        ("manifest", "master.m3u8", False, MANIFEST),
        ("file", "manifest.mpd", False, MANIFEST),
        ("file", "film.mkv", False, REPLACEABLE),
        ("poster", "poster.jpg", False, REPLACEABLE),
    ],
)
def test_only_what_never_changes_may_be_kept(role, name, immutable, rule):
    assert cache_control_of(role, media_type_of(name), immutable=immutable) == rule
