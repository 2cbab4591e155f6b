"""The streams of a source that a map takes, and the source's streams in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.media.ffmpeg.params import KIND_NAMES, SourceMap

if TYPE_CHECKING:
    from worker.core.media_info import MediaInfo, StreamInfo


def mapped_streams(source_map: SourceMap, info: MediaInfo) -> tuple[StreamInfo, ...]:
    """Return the streams of its source that `source_map` takes, in their order."""
    streams = info.streams
    if source_map.specifier is not None:
        kind = KIND_NAMES[source_map.specifier.lower()]
        bare = source_map.specifier == "V"
        streams = tuple(s for s in streams if s.kind == kind and not (bare and s.attached_picture))
    streams = tuple(stream for stream in streams if source_map.picks(stream))
    if source_map.stream is None:
        return streams
    return streams[source_map.stream : source_map.stream + 1]


def source_summary(info: MediaInfo) -> str:
    """Return the streams of a source in one line, for errors: `0 v:0 h264, 1 a:0 aac (jpn)`."""
    counts: dict[str, int] = {}
    parts = []
    for stream in info.streams:
        number = counts.setdefault(stream.kind, 0)
        counts[stream.kind] += 1
        letter = next((key for key, value in KIND_NAMES.items() if value == stream.kind), "?")
        language = f" ({stream.language})" if stream.language else ""
        parts.append(f"{stream.index} {letter}:{number} {stream.codec}{language}")
    return ", ".join(parts)
