"""The protocols and containers that ffmpeg may open, by the names of its demuxers.

A playlist or a list (hls, dash, concat, imf, sdp, vobsub) opens further files, whatever its
own name ends in, and is no container to us. ffmpeg matches each single name of a demuxer; both 5.1 and 8.1 do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.core.media_info import MediaInfo

ACCEPTED_PROTOCOLS: Final = ("file", "pipe")

_CONTAINERS: Final = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "mpegts", "mpeg", "avi", "flv", "live_flv", "asf",
    "ogg", "mxf", "nut", "dv", "gxf", "rm", "wtv", "ivf", "yuv4mpegpipe",
)  # fmt: skip
_SOUND: Final = (
    "wav", "w64", "aiff", "au", "caf", "mp3", "flac", "aac", "ac3", "eac3", "dts", "dtshd", "truehd", "mlp", "amr",
    "ape", "tta", "wv",
)  # fmt: skip
_PICTURES: Final = (
    "image2", "mpegvideo", "m4v", "h264", "hevc", "vvc", "av1", "obu", "vc1", "mjpeg", "png_pipe", "jpeg_pipe",
    "webp_pipe", "bmp_pipe", "tiff_pipe", "ppm_pipe", "gif", "apng", "jpegxl_pipe",
)  # fmt: skip
_TEXT: Final = ("srt", "ass", "webvtt", "sup")

ACCEPTED_FORMATS: Final = (*_CONTAINERS, *_SOUND, *_PICTURES, *_TEXT)

INDEXED: Final = frozenset({"mov", "mp4", "matroska", "webm", "avi", "mxf", "asf", "nut"})
"""Containers that say where their key frames are, so that ffmpeg enters them at the one before a time."""
RAW_PICTURES: Final = frozenset({"h264", "hevc", "vvc", "mpegvideo", "m4v", "vc1", "av1", "obu", "mjpeg"})
"""Pictures without a container: they have no clock."""
GUARDS: Final = (
    "-protocol_whitelist",
    ",".join(ACCEPTED_PROTOCOLS),
    "-format_whitelist",
    ",".join(ACCEPTED_FORMATS),
)
"""The options before every input of ffmpeg and ffprobe."""


def own_clock(info: MediaInfo) -> tuple[str, ...]:
    """Return the options before an input that leave its streams on its own clock where a sound's priming begins it.

    ffmpeg counts from the first packet: its pictures and texts would come late by the priming (5.1 with Opus, 7.1), a
    picture by up to half a frame more, and a text of another file early.
    """
    return ("-itsoffset", f"{-info.priming:.6f}") if info.priming else ()
