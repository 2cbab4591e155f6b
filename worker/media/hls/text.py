"""The subtitles of a presentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from worker.core.command import Command
from worker.core.errors import InvalidJob, Problem
from worker.media.ffmpeg.formats import GUARDS, own_clock
from worker.media.hls.choice import chosen_streams
from worker.media.languages import bcp47, name_of
from worker.media.matroska.tracks import WEBVTT

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.hls.params import HlsParams, SubtitleParams

_COPIES: Final = {"subrip": "srt", "srt": "srt", "ass": "ass", "ssa": "ass", "webvtt": "webvtt"}
_SUFFIXES: Final = {"srt": ".srt", "ass": ".ass", "webvtt": ".vtt"}
COPIED_CODECS: Final = frozenset({*_COPIES, "mov_text", "text"})
"""Subtitles that ffmpeg copies out of a container."""
TEXT_CODECS: Final = COPIED_CODECS | {WEBVTT}
"""Subtitles that are text; the others are pictures, and WebVTT cannot hold them."""


@dataclass(frozen=True, slots=True)
class TextRendition:
    """One subtitle: `stream`, whose codec is `codec`, counts the source's from 0, or `source` is a file of its own."""

    name: str
    language: str
    title: str
    default: bool
    forced: bool
    stream: int | None = None
    source: str | None = None
    codec: str = ""
    charset: str | None = None


def planned_texts(params: HlsParams, info: MediaInfo, warnings: list[str]) -> tuple[TextRendition, ...]:
    """Return the subtitles; InvalidJob for a stream that is not there or is no text."""
    if params.subtitles is None:
        unread = sum(stream.codec in {"", "none", "unknown"} for stream in info.subtitles)
        pictures = sum(stream.codec not in TEXT_CODECS for stream in info.subtitles) - unread
        if unread:
            warnings.append(
                f"{unread} subtitles of a kind that this ffmpeg does not read were left out;"
                " mkvextract writes such a track into a file, which may be given as a source"
            )
        if pictures:
            warnings.append(f"{pictures} subtitles that are pictures were left out; WebVTT holds text only")
        texts = [_of_stream(n, s) for n, s in enumerate(info.subtitles) if s.codec in TEXT_CODECS]
    else:
        texts = _renditions(params.subtitles, info)
    return tuple(_distinct_texts(texts))


def _of_stream(number: int, stream: StreamInfo) -> TextRendition:
    language = bcp47(stream.language)
    title = stream.title or name_of(language)
    forced = "forced" in stream.dispositions
    return TextRendition(f"text{number}-{language}", language, title, forced, forced, number, codec=stream.codec)


def _renditions(subtitles: list[SubtitleParams], info: MediaInfo) -> list[TextRendition]:
    texts: list[TextRendition] = []
    problems: list[Problem] = []
    for index, asked in enumerate(subtitles):
        if asked.source is not None:
            texts.append(_rendition(asked, f"file{index}", None, None))
            continue
        numbers = chosen_streams(asked, info.subtitles, TEXT_CODECS)
        if not numbers:
            problems.append(_no_such(index, asked, info))
        for number in numbers:
            stream = info.subtitles[number]
            if stream.codec in TEXT_CODECS:
                texts.append(_rendition(asked, str(number), number, stream))
            elif not asked.every:
                problems.append(Problem(f"subtitles[{index}].stream", f"is {stream.codec}, which is no text"))
    if problems:
        raise InvalidJob(problems)
    return texts


def _rendition(asked: SubtitleParams, mark: str, number: int | None, stream: StreamInfo | None) -> TextRendition:
    own = stream.language if stream else None
    language = bcp47(own if asked.every else asked.language or own)
    title = asked.name or (stream.title if stream else None) or name_of(language)
    # A stream that was chosen because it is forced is forced in the playlist, too.
    forced = asked.forced or (asked.disposition == "forced" and stream is not None)
    return TextRendition(
        f"text{mark}-{language}",
        language,
        title,
        asked.default,
        forced,
        number,
        asked.source,
        stream.codec if stream else "",
        asked.charset,
    )


def _no_such(index: int, asked: SubtitleParams, info: MediaInfo) -> Problem:
    if asked.stream is not None:
        message = f"is {asked.stream}, but the source has {len(info.subtitles)} subtitles"
        return Problem(f"subtitles[{index}].stream", message)
    known = ", ".join(f"{bcp47(stream.language)} {stream.codec}" for stream in info.subtitles) or "none"
    return Problem(f"subtitles[{index}]", f"the source has {len(info.subtitles)} subtitles ({known}), and not this one")


def _distinct_texts(texts: list[TextRendition]) -> list[TextRendition]:
    """Return the subtitles with distinct titles and at most one default, as RFC 8216 4.3.4.1.1 requires of a group."""
    seen: dict[str, int] = {}
    result: list[TextRendition] = []
    for text in texts:
        seen[text.title] = seen.get(text.title, 0) + 1
        title = text.title if seen[text.title] == 1 else f"{text.title} {seen[text.title]}"
        default = text.default and not any(other.default for other in result)
        result.append(replace(text, title=title, default=default))
    return result


def copied_suffix(codec: str) -> str | None:
    """Return the suffix of the file that ffmpeg copies a subtitle into; None for what it cannot copy as text."""
    return _SUFFIXES[_COPIES.get(codec, "ass")] if codec in COPIED_CODECS else None


def copy_arguments(codec: str, stream: int, target: Path) -> list[str]:
    """Return ffmpeg's arguments for an output with one subtitle, copied; we convert it to WebVTT ourselves.

    ffmpeg's own WebVTT leaves `<` and `&` as they are, and knows neither positions nor drawings. What a container
    holds in a form of its own (mov_text) becomes SubStation, where a `<` is only a `<`.
    """
    form = _COPIES.get(codec)
    return ["-map", f"0:s:{stream}", "-c:s", "copy" if form else "ass", "-f", form or "ass", f"file:{target}"]


def copy_command(ffmpeg: str, source: Path, info: MediaInfo, target: Path) -> Command:
    """Return the command that copies the first subtitle of a container into a file of its own."""
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "warning", "-xerror", "-y", *GUARDS, *own_clock(info))
    return Command((*head, "-i", f"file:{source}", *copy_arguments(info.subtitles[0].codec, 0, target)))
