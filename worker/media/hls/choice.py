"""The choice of source streams for sounds and subtitles: by number, or by language, disposition and codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.media.languages import find_language
from worker.media.selection import Selection, speaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.media_info import StreamInfo
    from worker.media.hls.params import AudioParams, SubtitleParams


def chosen_streams(
    asked: AudioParams | SubtitleParams, streams: Sequence[StreamInfo], codecs: frozenset[str] | None = None
) -> list[int]:
    """Return the numbers of the streams that are meant: the one that is named, all that match, or the first of them.

    A stream of exactly the language comes before one of a variant (`pt` before `pt-BR`). Where no codec is asked for,
    only streams of these `codecs` match.
    """
    if asked.stream is not None:
        return [asked.stream] if asked.stream < len(streams) else []
    alike = Selection(disposition=asked.disposition, codec=asked.source_codec)
    usable = None if asked.source_codec is not None else codecs
    numbers = [n for n, s in enumerate(streams) if alike.picks(s) and (usable is None or s.codec in usable)]
    if asked.language is not None and not asked.every:
        best = find_language(asked.language, [streams[number].language for number in numbers])
        return [] if best is None else [numbers[best]]
    numbers = [n for n in numbers if asked.language is None or speaks(asked.language, streams[n].language)]
    return numbers if asked.every else numbers[:1]
