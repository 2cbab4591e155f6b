"""The media types of published files, and how long caches may keep them."""

from __future__ import annotations

import posixpath
from typing import Final

DEFAULT: Final = "application/octet-stream"

# HLS and DASH names: Apple's HLS authoring specification, 10.4; RFC 8216 §4; ISO/IEC 23009-1 annex C.
_BY_SUFFIX: Final = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".m4s": "video/iso.segment",
    ".cmfv": "video/mp4",
    ".cmfa": "audio/mp4",
    ".ts": "video/mp2t",
    ".m2ts": "video/mp2t",
    ".mts": "video/mp2t",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/matroska",
    ".mka": "audio/matroska",
    ".mks": "application/matroska",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".ogv": "video/ogg",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".aac": "audio/aac",
    ".ac3": "audio/ac3",
    ".eac3": "audio/eac3",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".vtt": "text/vtt",
    ".srt": "application/x-subrip",
    ".ass": "text/x-ssa",
    ".ssa": "text/x-ssa",
    ".sup": "application/octet-stream",
    ".ttml": "application/ttml+xml",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".xml": "application/xml",
    ".txt": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
    ".zip": "application/zip",
}

_PLAYLISTS: Final = frozenset({"application/vnd.apple.mpegurl", "application/dash+xml"})

IMMUTABLE: Final = "public, max-age=31536000, immutable"
MANIFEST: Final = "public, max-age=2"
REPLACEABLE: Final = "public, max-age=60"


def media_type_of(name: str) -> str:
    """Return the media type of a file by the suffix of its name; `application/octet-stream` for an unknown one."""
    return _BY_SUFFIX.get(posixpath.splitext(name)[1].lower(), DEFAULT)


def cache_control_of(role: str, media_type: str, *, immutable: bool) -> str:
    """Return the Cache-Control of a published file.

    One in an attempt's own folder never changes. A playlist or manifest at a fixed name is swapped, and a
    player must see it within seconds; any other fixed name may be replaced by a later job.
    """
    if immutable:
        return IMMUTABLE
    return MANIFEST if role in {"playlist", "manifest"} or media_type in _PLAYLISTS else REPLACEABLE
