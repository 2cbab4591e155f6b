"""Fewer channels: by one matrix for every encoder, and held within full scale where a decoder goes above."""

from __future__ import annotations

import pytest

from worker.core.media_info import StreamInfo
from worker.media.ffmpeg.mixing import LIMITER, mixing_options

MATRIX = "aresample=rematrix_maxval=1,aformat=channel_layouts="


def sound(codec: str, channels: int) -> StreamInfo:
    return StreamInfo(0, "audio", codec, channels=channels)


@pytest.mark.parametrize(
    ("codec", "channels", "options", "chain"),
    [
        ("ac3", 6, {"codec": "flac", "ac": 2}, f"{MATRIX}stereo,{LIMITER}"),
        ("flac", 6, {"codec": "aac", "ac": 2}, f"{MATRIX}stereo"),
        ("pcm_s24le", 8, {"codec": "aac", "ac": "6"}, f"{MATRIX}5.1"),
        ("pcm_f32le", 8, {"codec": "aac", "ch_layout": "5.1(side)"}, f"{MATRIX}5.1(side),{LIMITER}"),
        ("aac", 6, {"codec": "aac", "channel_layout": "5.1(side)"}, f"{MATRIX}5.1(side)"),
        # encoders that take fewer channels than there are: ffmpeg would mix by itself, beyond full scale
        ("eac3", 6, {"codec": "libmp3lame"}, f"{MATRIX}stereo,{LIMITER}"),
        ("truehd", 8, {"codec": "ac3"}, f"{MATRIX}5.1"),
        ("opus", 8, {"codec": "eac3", "af": "volume=2"}, f"volume=2,{MATRIX}5.1,{LIMITER}"),
    ],
)
def test_a_mix_has_one_matrix_and_is_limited_where_its_source_may_be_above_full_scale(
    codec: str, channels: int, options: dict[str, object], chain: str
) -> None:
    assert mixing_options(options, sound(codec, channels))["af"] == chain


@pytest.mark.parametrize(
    ("codec", "channels", "options"),
    [
        ("ac3", 6, {"codec": "aac"}),
        ("ac3", 6, {"codec": "copy", "ac": 2}),
        ("aac", 2, {"codec": "libmp3lame"}),
        ("aac", 1, {"codec": "aac", "ac": 2}),
    ],
)
def test_a_sound_that_is_not_mixed_down_has_no_filter(codec: str, channels: int, options: dict[str, object]) -> None:
    assert mixing_options(options, sound(codec, channels)) == options
