"""The facts that conditions and templates may name, and how they follow from a probe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from worker.media.languages import bcp47

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.media_info import MediaInfo, StreamInfo

Value: TypeAlias = "float | str | bool | tuple[str, ...]"


class Kind(Enum):
    """The kinds of facts, in the words of the errors."""

    NUMBER = "a number"
    TEXT = "a text"
    FLAG = "true or false"
    TEXTS = "a list of texts"


@dataclass(frozen=True, slots=True)
class Fact:
    """The meaning of a name; `words` are `codec` or `language` where a text is normalised before it is compared."""

    kind: Kind
    description: str
    words: str = ""


_N, _T, _F, _L = Kind.NUMBER, Kind.TEXT, Kind.FLAG, Kind.TEXTS
FACTS: Final[Mapping[str, Fact]] = {
    "source.uri": Fact(_T, "The source as it is named: `nas://in/a film.mkv`."),
    "source.folder": Fact(_T, "The folder that it is in, without a slash at the end: `nas://in`."),
    "source.name": Fact(_T, "The last part of its path: `a film.mkv`."),
    "source.stem": Fact(_T, "The name without its suffix: `a film`."),
    "source.suffix": Fact(_T, "The suffix in small letters, with its dot: `.mkv`."),
    "bytes": Fact(_N, "The size of the file."),
    "container": Fact(_L, "ffprobe's names of the container: `matroska`, `webm`."),
    "duration": Fact(_N, "Seconds."),
    "bitrate": Fact(_N, "Bits a second of the whole file."),
    "chapters": Fact(_N, "How many chapters there are."),
    "video.count": Fact(_N, "How many video streams there are, cover art left out."),
    "video.codec": Fact(_T, "The first video stream's codec: `h264`, `hevc`, `av1`.", "codec"),
    "video.width": Fact(_N, "Its width in pixels, as it is shown (rotation and pixel shape applied)."),
    "video.height": Fact(_N, "Its height in pixels, as it is shown."),
    "video.short_side": Fact(_N, "The smaller of both: 1080 for 1920x1080 and for 1080x1920."),
    "video.fps": Fact(_N, "Its frames a second."),
    "video.bitrate": Fact(_N, "Its bits a second, the whole file's where the stream does not say."),
    "video.depth": Fact(_N, "Bits of a sample: 8, 10, 12."),
    "video.hdr": Fact(_F, "Whether its light is PQ or HLG."),
    "video.interlaced": Fact(_F, "Whether it says that it is interlaced."),
    "audio.count": Fact(_N, "How many audio streams there are."),
    "audio.codec": Fact(_T, "The first audio stream's codec.", "codec"),
    "audio.codecs": Fact(_L, "The codecs of all audio streams.", "codec"),
    "audio.languages": Fact(_L, "Their languages: `en` for `eng`, `und` where none is said.", "language"),
    "audio.channels": Fact(_N, "The channels of the stream that has most."),
    "audio.loudness": Fact(_N, "The integrated loudness of the first audio stream in LUFS; it must be decoded."),
    "subtitles.count": Fact(_N, "How many subtitle streams there are."),
    "subtitles.codecs": Fact(_L, "Their codecs.", "codec"),
    "subtitles.languages": Fact(_L, "Their languages.", "language"),
    "subtitles.forced": Fact(_F, "Whether one of them is marked as forced."),
}
MEASURED: Final = frozenset({"audio.loudness"})
"""Facts that need the whole file to be decoded."""
_HDR: Final = frozenset({"smpte2084", "arib-std-b67"})
_DEPTH: Final = re.compile(r"(?:p|gray|gbrp|gbrap|p0|xyz|rgb|bgr|x2rgb|y2)(9|10|12|14|16)(?:le|be)?$")


def facts_of(info: MediaInfo) -> dict[str, Value]:
    """Return the facts of a file by name; those that it does not have are left out."""
    found: dict[str, Value | None] = {
        "bytes": info.bytes,
        "container": tuple(part for part in info.container.split(",") if part),
        "duration": info.duration,
        "bitrate": _bitrate(info),
        "chapters": info.chapters,
        "video.count": len(info.of_kind("video")),
        "audio.count": len(info.audio),
        "audio.codec": info.audio[0].codec if info.audio else None,
        "audio.codecs": tuple(dict.fromkeys(one.codec for one in info.audio)),
        "audio.languages": _languages(info.audio),
        "audio.channels": max((one.channels or 0 for one in info.audio), default=None),
        "subtitles.count": len(info.subtitles),
        "subtitles.codecs": tuple(dict.fromkeys(one.codec for one in info.subtitles)),
        "subtitles.languages": _languages(info.subtitles),
        "subtitles.forced": any("forced" in one.dispositions for one in info.subtitles),
    }
    if info.video is not None:
        found |= _video(info, info.video)
    return {name: value for name, value in found.items() if value is not None}


def _video(info: MediaInfo, video: StreamInfo) -> dict[str, Value | None]:
    width, height = video.width, video.height
    if width and video.sample_aspect:
        width = round(width * video.sample_aspect)
    if video.rotation in {90, 270}:
        width, height = height, width
    interlaced = video.field_order not in {None, "progressive"}
    return {
        "video.codec": video.codec,
        "video.width": width,
        "video.height": height,
        "video.short_side": min(width, height) if width and height else None,
        "video.fps": float(video.frame_rate) if video.frame_rate else None,
        "video.bitrate": video.bitrate_bps or _bitrate(info),
        "video.depth": depth_of(video.pixel_format),
        "video.hdr": video.color_transfer in _HDR,
        "video.interlaced": interlaced,
    }


def _bitrate(info: MediaInfo) -> float | None:
    if info.bitrate_bps is not None:
        return info.bitrate_bps
    return info.bytes * 8 / info.duration if info.duration else None


def depth_of(pixel_format: str | None) -> int | None:
    """Return the bits of a sample of an ffmpeg pixel format; None where none is known."""
    if not pixel_format:
        return None
    found = _DEPTH.search(pixel_format)
    return int(found[1]) if found else 8


def _languages(streams: tuple[StreamInfo, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(bcp47(one.language) for one in streams))


def fact_text(value: Value) -> str:
    """Return a fact as a text: what replaces it in a template."""
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value)
        case str():
            return value
        case _:
            return f"{value:.3f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
