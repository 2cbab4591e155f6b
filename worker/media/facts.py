"""The facts of a media file, as plain JSON for the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.media_info import MediaInfo, StreamInfo


def facts_of(info: MediaInfo) -> dict[str, object]:
    """Return a file's facts; what is unknown is left out."""
    facts: dict[str, object] = {
        "container": info.container,
        "duration": info.duration,
        "start": info.start,
        "bytes": info.bytes,
        "bitrate": info.bitrate_bps,
        "chapters": info.chapters,
        "tags": dict(info.tags),
        "streams": [_stream(stream) for stream in info.streams],
    }
    return {key: value for key, value in facts.items() if value not in (None, {}, [])}


def _stream(stream: StreamInfo) -> dict[str, object]:
    facts: dict[str, object] = {
        "index": stream.index,
        "kind": stream.kind,
        "codec": stream.codec,
        "profile": stream.profile,
        "language": stream.language,
        "title": stream.title,
        "duration": stream.duration,
        "start": stream.start,
        "frames": stream.frames,
        "width": stream.width,
        "height": stream.height,
        "frame_rate": str(stream.frame_rate) if stream.frame_rate else None,
        "sample_aspect": str(stream.sample_aspect) if stream.sample_aspect else None,
        "rotation": stream.rotation or None,
        "pixel_format": stream.pixel_format,
        "field_order": stream.field_order,
        "color_transfer": stream.color_transfer,
        "color_primaries": stream.color_primaries,
        "color_space": stream.color_space,
        "channels": stream.channels,
        "sample_rate": stream.sample_rate,
        "bitrate": stream.bitrate_bps,
        "attached_picture": stream.attached_picture or None,
        "empty": stream.empty or None,
        "dispositions": sorted(stream.dispositions),
    }
    return {key: value for key, value in facts.items() if value not in (None, {}, [])}
