"""What is made of a source: sizes, rates, lengths."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.ffmpeg.encoders import bits_per_second, encoder_named
from worker.media.hls.ladder import (
    MIN_SEGMENT,
    Size,
    boxed_size,
    derived_sizes,
    display_size,
    even_segments,
    film_seconds,
    output_rate,
    scaled_size,
    timing,
    usual_peak,
)

SIDES = st.integers(16, 5000)


def video(**fields: object) -> StreamInfo:
    return StreamInfo(index=0, kind="video", codec="h264", **fields)  # type: ignore[arg-type]


@given(SIDES, SIDES)
def test_a_derived_ladder_goes_down_from_the_source_in_even_sides_and_its_shape(width: int, height: int) -> None:
    source = Size(width, height)
    sizes = derived_sizes(source)
    assert sizes
    assert len(set(sizes)) == len(sizes)
    assert [size.pixels for size in sizes] == sorted((size.pixels for size in sizes), reverse=True)
    for size in sizes:
        assert size.width % 2 == size.height % 2 == 0
        assert size.width <= max(width, 2)
        assert size.height <= max(height, 2)
        assert (
            abs(size.width / size.height - width / height) <= 0.15 * (width / height) + 2 / size.height * width / height
        )


@pytest.mark.parametrize(
    ("source", "shorts"),
    [
        (Size(3840, 2160), [2160, 1440, 1080, 720, 480, 360, 240]),
        (Size(1280, 720), [720, 480, 360, 240]),
        (Size(1080, 1920), [1080, 720, 480, 360, 240]),
        (Size(1600, 900), [900, 720, 480, 360, 240]),
        (Size(320, 180), [180]),
    ],
)
def test_the_rungs_of_usual_sources(source: Size, shorts: list[int]) -> None:
    assert [size.short for size in derived_sizes(source)] == shorts


def test_pixels_are_squared_and_pictures_turned() -> None:
    assert display_size(video(width=720, height=576, sample_aspect=Fraction(64, 45))) == Size(1024, 576)
    assert display_size(video(width=1920, height=1080, rotation=90)) == Size(1080, 1920)
    assert display_size(video(width=640, height=480, rotation=270, sample_aspect=Fraction(2))) == Size(480, 1280)


@given(SIDES, SIDES, SIDES, SIDES)
def test_nothing_is_scaled_up_or_out_of_its_box(width: int, height: int, wide: int, high: int) -> None:
    size = boxed_size(Size(width, height), Size(wide, high))
    turned = (width < height) != (wide < high)
    box = Size(high, wide) if turned else Size(wide, high)
    assert size.width <= max(2, min(width, box.width + 1))
    assert size.height <= max(2, min(height, box.height + 1))
    assert scaled_size(Size(width, height), 10_000).short <= max(2, min(width, height))


@pytest.mark.parametrize(
    ("rate", "made"),
    [
        ("30000/1001", "30000/1001"),
        ("2997/100", "30000/1001"),
        ("120", "60"),
        ("120000/1001", "60000/1001"),
        ("144", "36"),
        ("50", "50"),
        ("273/10", "30000/1001"),
        ("10", "10"),
        ("61", "61/2"),
        ("1", "1"),
        ("1/2", "1"),
        ("1/4", "1"),
        ("3/10", "6/5"),
        ("1/90", "1"),
    ],
)
def test_frame_rates_are_constant_standard_and_at_most_60(rate: str, made: str) -> None:
    found = output_rate(video(frame_rate=Fraction(rate)))
    expected = Fraction(made)
    assert found == expected or (rate in {"144", "61"} and expected <= found <= 60)


def test_a_header_that_promises_a_picture_in_two_days_is_no_rate_of_nothing():
    found = timing(video(frame_rate=Fraction(7097, 1166648772)), 4109654.685, 2.0)
    assert found.frame_rate > 0
    assert found.duration > 0


@given(
    st.sampled_from(["24000/1001", "25", "30000/1001", "50", "60", "12"]),
    st.floats(0.04, 20_000),
    st.sampled_from([2.0, 4.0, 6.0, 10.0]),
)
def test_no_last_segment_is_a_scrap(rate: str, seconds: float, segment: float) -> None:
    clock = timing(video(frame_rate=Fraction(rate)), seconds, segment)
    tail = Fraction(clock.frames % (clock.gop * clock.gops)) / clock.frame_rate
    assert tail == 0 or tail >= MIN_SEGMENT or clock.duration < MIN_SEGMENT
    assert abs(float(clock.duration) - seconds) <= float(1 / clock.frame_rate)
    assert abs(float(clock.segment_seconds) - segment) <= segment / 10


@given(st.integers(1, 40_000_000), st.floats(1, 60))
def test_sound_alone_has_no_scrap_either(milliseconds: int, segment: float) -> None:
    duration = Fraction(milliseconds, 1000)
    length = even_segments(duration, segment)
    tail = duration % length
    assert tail == 0 or tail >= MIN_SEGMENT or duration < Fraction(segment)


def test_the_film_lasts_until_its_last_picture_or_sound() -> None:
    sound = StreamInfo(
        index=1, kind="audio", codec="aac", start=9.977, duration=17.0, tags={"DURATION": "00:00:17.000"}
    )
    picture = video(start=10.0, duration=17.007, tags={"DURATION": "00:00:17.007000000"})
    assert film_seconds(MediaInfo("matroska,webm", 17.007, 9.977, 1, None, (picture, sound))) == pytest.approx(7.03)
    relative = video(start=10.0, duration=7.0)
    assert film_seconds(MediaInfo("mpegts", 7.0, 10.0, 1, None, (relative,))) == 7.0
    assert film_seconds(MediaInfo("matroska,webm", 5.0, 0.0, 1, None, (video(),))) == 5.0
    assert film_seconds(MediaInfo("matroska,webm", None, 0.0, 1, None, (video(),))) is None


def test_bits_follow_the_picture() -> None:
    assert usual_peak(Size(1920, 1080), Fraction(30)) == 5_500_000
    assert usual_peak(Size(1280, 720), Fraction(60)) > usual_peak(Size(1280, 720), Fraction(30))


@pytest.mark.parametrize(
    ("text", "bits"), [("2500k", 2_500_000), ("2.5M", 2_500_000), (800_000, 800_000), ("64000", 64_000)]
)
def test_bitrates_are_read(text: str | int, bits: int) -> None:
    assert bits_per_second(text) == bits


@pytest.mark.parametrize("text", ["2500", 0, "fast", "-5k", "1e6", "9999M"])
def test_a_text_that_is_no_bitrate_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="bitrate"):
        bits_per_second(text)


def test_encoders_are_known_by_their_names() -> None:
    assert encoder_named("h264").name == "libx264"
    assert (encoder_named("HEVC_nvenc").name, encoder_named("hevc_nvenc").family) == ("hevc_nvenc", "nvenc")
    with pytest.raises(ValueError, match="unknown codec"):
        encoder_named("h264_toaster")
