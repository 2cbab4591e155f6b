"""The encoders a rendition may name, and the options that make their key frames and bits what a ladder needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.media.hls.ladder import Rendition, Timing

SOFTWARE: Final = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}
_FAMILIES: Final = ("nvenc", "qsv", "vaapi", "v4l2m2m")
_ALIASES: Final = {
    "h264": "h264", "avc": "h264", "x264": "h264", "libx264": "h264",
    "hevc": "hevc", "h265": "hevc", "x265": "hevc", "libx265": "hevc",
    "av1": "av1", "libsvtav1": "av1", "vp9": "vp9", "libvpx-vp9": "vp9",
}  # fmt: skip
AUDIO_ENCODERS: Final = {
    "aac": "aac", "ac3": "ac3", "ac-3": "ac3", "eac3": "eac3", "ec-3": "eac3",
    "opus": "libopus", "libopus": "libopus", "flac": "flac",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Level:
    blocks: int
    blocks_a_second: int
    buffer_bits: int


_LEVEL_2: Final = _Level(blocks=396, blocks_a_second=11_880, buffer_bits=2_500_000)
_RATE: Final = re.compile(r"^(\d+(?:\.\d+)?)\s*([kKmM]?)(?:bps|bit/s|b/s)?$")


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder: ffmpeg's name, the coding it makes (`h264`), and its hardware's family, None for software."""

    name: str
    coding: str
    family: str | None


def encoder_named(codec: str) -> Encoder:
    """Return the encoder that `codec` (`h264`, `libx265`, `hevc_nvenc`, …) means; ValueError when it is unknown."""
    name = codec.strip().lower()
    if name in _ALIASES:
        coding = _ALIASES[name]
        return Encoder(SOFTWARE[coding], coding, None)
    coding, _, family = name.partition("_")
    if coding in {"h264", "hevc", "av1", "vp9"} and family in _FAMILIES:
        return Encoder(name, coding, family)
    known = ", ".join(sorted(_ALIASES))
    raise ValueError(f"unknown codec {codec[:60]!r}; known are {known}, and h264_, hevc_, av1_ with {_FAMILIES}")


def fallback_of(encoder: Encoder) -> Encoder:
    """Return the software encoder of the same coding."""
    return Encoder(SOFTWARE[encoder.coding], encoder.coding, None)


def bits_per_second(value: str | float) -> int:
    """Return the bits a second of `2500k`, `2.5M` or 2500000; ValueError when it is none or no sensible rate."""
    match = _RATE.match(str(value).strip())
    if match is None:
        raise ValueError(f"{str(value)[:40]!r} is no bitrate; write 2500k, 2.5M or 2500000")
    rate = round(float(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2].lower()])
    if not 8_000 <= rate <= 400_000_000:  # noqa: PLR2004  # from the least speech codec to studio masters
        hint = f"; write {match[1]}k" if rate < 8_000 else ""  # noqa: PLR2004
        raise ValueError(f"{rate} bit/s is no bitrate between 8k and 400M{hint}")
    return rate


def video_options(
    rendition: Rendition, timing: Timing, *, ten_bit: bool = False, joined: bool = False, mastering: str = ""
) -> tuple[str, ...]:
    """Return ffmpeg's output options for one rendition: encoder, rate control, closed GOPs of equal length.

    A part that is `joined` has headers that do not depend on what it shows. `mastering` are the parameters by which
    x265 writes what HDR10 says of its mastering.
    """
    coding = encoder_named(rendition.encoder)
    gop = ("-g", str(timing.gop))
    bits = _rate_control(rendition, coding)
    match coding.name:
        case "libx264":
            profile = "high10" if ten_bit else "high"
            keys = f"keyint={timing.gop}:min-keyint={timing.gop}:scenecut=0:open-gop=0"
            keys += ":stitchable=1" if joined else ""
            own: tuple[str, ...] = ("-preset", "veryfast", "-profile:v", profile, *_level(rendition, timing))
            own += ("-x264-params", keys)
        case "libx265":
            keys = f"keyint={timing.gop}:min-keyint={timing.gop}:scenecut=0:open-gop=0:log-level=error"
            keys += f":hdr10=1:{mastering}" if mastering else ""
            own = ("-preset", "fast", "-tag:v", "hvc1", "-x265-params", keys)
        case "libsvtav1":
            own = (*gop, "-preset", "8", "-svtav1-params", "scd=0")
        case "libvpx-vp9":
            own = (*gop, "-keyint_min", str(timing.gop), "-deadline", "good", "-cpu-used", "4", "-row-mt", "1")
        case _:
            own = (*gop, "-force_key_frames", f"expr:eq(mod(n,{timing.gop}),0)", *_hardware_options(coding))
    return ("-c:v", coding.name, *own, *bits)


def _level(rendition: Rendition, timing: Timing) -> tuple[str, ...]:
    """Return level 2 of H.264 for what fits into it: encoders call the smallest pictures 1b, which Chromium refuses.

    The bounds are those of ITU-T H.264 table A-1: macroblocks a frame and a second, and the high profile's buffer.
    """
    blocks = -(-rendition.size.width // 16) * -(-rendition.size.height // 16)
    fits = blocks <= _LEVEL_2.blocks and blocks * timing.frame_rate <= _LEVEL_2.blocks_a_second
    return ("-level:v", "2") if fits and _buffer_bits(rendition) <= _LEVEL_2.buffer_bits else ()


def _buffer_bits(rendition: Rendition) -> int:
    return 2 * rendition.peak_bps


def _rate_control(rendition: Rendition, encoder: Encoder) -> tuple[str, ...]:
    peak = ("-maxrate", str(rendition.peak_bps), "-bufsize", str(_buffer_bits(rendition)))
    if rendition.bitrate_bps is not None:
        # SVT-AV1 of ffmpeg 5.1 refuses maxrate beside a bitrate
        return ("-b:v", str(rendition.bitrate_bps), *(() if encoder.name == "libsvtav1" else peak))
    quality = rendition.quality
    match encoder.family, encoder.coding:
        case None, "h264":
            return ("-crf", f"{23 if quality is None else quality:g}", *peak)
        case None, "hevc":
            return ("-crf", f"{26 if quality is None else quality:g}", *peak)
        case None, "av1":
            return ("-crf", f"{35 if quality is None else quality:g}")
        case None, _:
            return ("-crf", f"{33 if quality is None else quality:g}", "-b:v", str(rendition.peak_bps))
        case "nvenc", _:
            return ("-rc", "vbr", "-cq", f"{25 if quality is None else quality:g}", *peak)
        case _:
            return ("-b:v", str(round(rendition.peak_bps / 1.5)), *peak)


def _hardware_options(encoder: Encoder) -> tuple[str, ...]:
    tag = ("-tag:v", "hvc1") if encoder.coding == "hevc" else ()
    match encoder.family:
        case "nvenc":
            return ("-forced-idr", "1", "-no-scenecut", "1", *tag)
        case "qsv":
            return ("-forced_idr", "1", *tag)
        case _:
            return tag
