"""How a foreign file is given to ffmpeg and ffprobe, so that it can open nothing but itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

CONTAINERS: Final = (
    "matroska", "webm", "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "mpegts", "mpeg", "avi", "asf", "flv", "live_flv",
    "mxf", "gxf", "ogg", "wav", "w64", "aiff", "flac", "mp3", "aac", "ac3", "eac3", "dts", "caf", "nut", "rm", "wv",
    "h264", "hevc", "m4v", "mpegvideo", "dv", "ivf", "gif", "apng", "y4m", "yuv4mpegpipe", "amr", "au", "tta", "ape",
)  # fmt: skip
"""Demuxers that read one file: no playlist, no list of files, no image pattern."""


def guarded_input(path: Path, containers: tuple[str, ...] = CONTAINERS) -> tuple[str, ...]:
    """Return the options that open `path`: only by plain file access, only as one of `containers`.

    A playlist or a concat script that is named .mp4 would make ffmpeg open other files.
    """
    return (
        "-protocol_whitelist", "file,pipe",
        "-format_whitelist", ",".join(containers),
        "-i", f"file:{path}",
    )  # fmt: skip
