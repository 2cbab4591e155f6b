"""The difference between what a job asked of its streams and what was encoded: encoders silently take the nearest."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from worker.media.ffmpeg.tagging import colour_differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.ffmpeg.params import OutputMap

_SIZE: Final = re.compile(r"^(\d+)x(\d+)$")
_RATE: Final = re.compile(r"^(\d+(?:\.\d+)?)(?:/(\d+(?:\.\d+)?))?$")
_RATES: Final = {"ntsc": "30000/1001", "pal": "25", "film": "24", "ntsc-film": "24000/1001"}
_VARIABLE: Final = frozenset({"vfr", "passthrough", "drop", "0", "2"})
_RATE_SLACK: Final = Fraction(2, 100)
"""A container's mean of a short film is off by a frame."""
# x264 states the profile that the stream uses, which may be a simpler one than the profile asked for.
_H264: Final = ("baseline", "main", "high", "high10", "high422", "high444")
_NAMES: Final = {
    "constrainedbaseline": "baseline", "high4:2:2": "high422", "high4:4:4predictive": "high444", "lc": "aaclow",
    "heaac": "aache", "heaacv2": "aachev2",
}  # fmt: skip
_EXACT: Final = frozenset({"main", "main10", "aaclow", "aache", "aachev2"})


def differences(maps: list[OutputMap], made: MediaInfo) -> Iterator[tuple[OutputMap, str, str]]:
    """Yield each option that an output does not have: its map, the option, and what was asked for and is there.

    Judged are pixel format, frame rate, size, sample rate, channels and profile.
    """
    for item in maps:
        stream = _stream(item, made)
        if stream is None or item.encoder == "copy":
            continue
        judged = _picture(item.options, stream) if stream.kind == "video" else _sound(item.options, stream)
        for option, asked, got in judged:
            yield item, option, f"{asked} was asked for, and {got} is what {item.encoder or 'the encoder'} made"


def lost_colours(maps: list[OutputMap], made: MediaInfo) -> Iterator[str]:
    """Yield what the pictures' names of colours are not, which the options ask for: a codec may have no place for them.

    A player then takes the usual ones.
    """
    for item in maps:
        stream = _stream(item, made)
        if stream is not None and stream.kind == "video" and item.encoder != "copy":
            yield from colour_differences(item.options, stream)


def _stream(item: OutputMap, made: MediaInfo) -> StreamInfo | None:
    kind = {"v": "video", "a": "audio"}.get(item.specifier or "")
    found = [stream for stream in made.streams if stream.kind == kind][item.stream or 0 :]
    return found[0] if found else None


def _picture(options: Mapping[str, Any], stream: StreamInfo) -> Iterator[tuple[str, str, str]]:
    asked = options.get("pix_fmt")
    if isinstance(asked, str) and stream.pixel_format and _pixels(asked) != _pixels(stream.pixel_format):
        yield "pix_fmt", asked, stream.pixel_format
    if match := _SIZE.match(str(options.get("s", ""))):
        has = (stream.width, stream.height)
        if has != (int(match[1]), int(match[2])):
            yield "s", match[0], f"{has[0]}x{has[1]}"
    rate = _rate(options.get("r"))
    constant = str(options.get("fps_mode", "")) not in _VARIABLE and "frames" not in options
    if rate and constant and stream.frame_rate and abs(stream.frame_rate - rate) > rate * _RATE_SLACK:
        yield "r", str(options["r"]), f"{float(stream.frame_rate):g}"
    yield from _profile(options, stream)


def _pixels(name: str) -> str:
    """Return a pixel format's name without its range and the order of its bytes."""
    plain = name.replace("yuvj", "yuv")
    return plain.removesuffix("le") if re.search(r"\d(le)$", plain) else plain


def _rate(value: object) -> Fraction | None:
    match = _RATE.match(_RATES.get(str(value), str(value)))
    if match is None:
        return None
    under = Fraction(match[2] or 1)
    return Fraction(match[1]) / under if under else None


def _sound(options: Mapping[str, Any], stream: StreamInfo) -> Iterator[tuple[str, str, str]]:
    # Opus always has 48 kHz; the rate given to its encoder only limits the bandwidth
    for option, has in (("ar", stream.sample_rate if stream.codec != "opus" else None), ("ac", stream.channels)):
        asked = str(options.get(option, ""))
        if asked.isdigit() and has is not None and int(asked) != has:
            yield option, asked, str(has)
    yield from _profile(options, stream)


def _profile(options: Mapping[str, Any], stream: StreamInfo) -> Iterator[tuple[str, str, str]]:
    asked, got = _profile_name(options.get("profile")), _profile_name(stream.profile)
    if stream.codec == "h264" and asked in _H264 and got in _H264:
        if _H264.index(got) > _H264.index(asked):
            yield "profile", str(options["profile"]), str(stream.profile)
    elif asked in _EXACT and got in _EXACT and asked != got and stream.codec in {"hevc", "aac"}:
        yield "profile", str(options["profile"]), str(stream.profile)


def _profile_name(profile: object) -> str:
    plain = re.sub(r"[\s_-]", "", str(profile or "").lower())
    return _NAMES.get(plain, plain)
