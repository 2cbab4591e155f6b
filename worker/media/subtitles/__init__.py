"""Subtitle files as cues: SubRip, SubStation and WebVTT, in whatever charset they are written."""

from __future__ import annotations

import re
from typing import Final

from worker.core.errors import BadInput
from worker.media.subtitles.charset import decode
from worker.media.subtitles.subrip import parse_subrip
from worker.media.subtitles.substation import parse_substation
from worker.media.webvtt import MAX_CUES, CueError, TimedText, parse_webvtt

_SCRIPT: Final = re.compile(r"^[ \t]*\[(?:script info|v4\+? styles|events)\][ \t]*$", re.IGNORECASE | re.MULTILINE)
_CONTAINERS: Final = ((0, b"\x1aE\xdf\xa3"), (4, b"ftyp"), (0, b"OggS"), (0, b"RIFF"), (0, b"\x00\x00\x01\xba"))
HEAD_BYTES: Final = 64


def is_container(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a container of streams, and no text."""
    return any(head[at : at + len(mark)] == mark for at, mark in _CONTAINERS)


def parse_subtitles(data: bytes, name: str, charset: str | None = None) -> TimedText:
    """Return the cues of a subtitle file, whatever its name ends in.

    BadInput where it is not UTF-8 and `charset` does not say what it is, is no subtitle, or holds too many cues.
    """
    text = decode(data, name, charset)
    try:
        found = _parse_text(text)
    except CueError as error:
        raise BadInput(f"the subtitles {name} cannot be read: {error}") from error
    if len(found.cues) > MAX_CUES:
        raise BadInput(f"the subtitles {name} have {len(found.cues)} cues; at most {MAX_CUES} are read")
    if found.unread and not found.cues:
        raise BadInput(f"the subtitles {name} cannot be read: no cue has times that are any, and end after they begin")
    if not found.cues and text.strip() and not text.startswith("WEBVTT") and not _SCRIPT.search(text):
        raise BadInput(f"the subtitles {name} cannot be read: they are neither SubRip, SubStation nor WebVTT")
    return found


def _parse_text(text: str) -> TimedText:
    if text.startswith("WEBVTT"):
        return parse_webvtt(text)
    if _SCRIPT.search(text[:20_000]):
        return parse_substation(text)
    return parse_subrip(text)
