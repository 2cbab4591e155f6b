"""The question to ffprobe about a media file, and its JSON as values."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command, Pipeline
from worker.core.errors import BadInput, LeveretError, SourceMissing, ToolFailed
from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.failure import classify, is_host_shortage
from worker.media.ffmpeg.formats import ACCEPTED_FORMATS, GUARDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.command import Exit

__all__ = ["ACCEPTED_FORMATS", "classify_probe", "media_info", "parse_probe", "probe_command"]

CAPTURE_BYTES: Final = 16 << 20
_CLOCK: Final = re.compile(r"^(\d+):(\d{2}):(\d{2}(?:\.\d+)?)$")


def probe_command(ffprobe: str, path: Path) -> Pipeline:
    """Return the question; its output is for `parse_probe`. Playlists and lists are refused whatever they are named."""
    argv = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-of", "json")
    shown = ("-show_format", "-show_streams", "-show_chapters", "-i", f"file:{path}")
    return Pipeline((Command((*argv, *shown)),), capture_bytes=CAPTURE_BYTES)


def media_info(exit_: Exit, name: str) -> MediaInfo:
    """Return what ffprobe found; the error of `classify_probe` or `parse_probe` where it found nothing."""
    if not exit_.ok:
        raise classify_probe(exit_, name)
    try:
        return parse_probe(exit_.output)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error


def classify_probe(exit_: Exit, name: str) -> LeveretError:
    """Return what a failed probe of the file `name` means: missing, no media, or a sick tool or storage."""
    if "No such file or directory" in exit_.complaint:
        return SourceMissing(f"{name} does not exist")
    if "not on whitelist" in exit_.complaint:
        kind = re.search(r"\[(\S+) @ .*not on whitelist", exit_.complaint)
        return BadInput(f"{name} is a {kind[1] if kind else 'format'} file, which is not among the accepted formats")
    error = classify(exit_, name)
    silent = isinstance(error, ToolFailed) and exit_.code is not None and not is_host_shortage(exit_.complaint)
    return BadInput(f"{name} is no media: {exit_}") if silent or isinstance(error, BadInput) else error


def parse_probe(text: str) -> MediaInfo:
    """Return ffprobe's JSON as a value. BadInput when no stream in it can be read."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadInput(f"ffprobe's answer of {len(text)} characters is no JSON") from error
    form = document.get("format", {})
    streams = tuple(_stream(item) for item in document.get("streams", []))
    if not any(map(_readable, streams)):
        raise BadInput("holds no stream that can be read")
    return MediaInfo(
        container=str(form.get("format_name", "")),
        duration=_seconds(form.get("duration")),
        start=_seconds(form.get("start_time")) or 0.0,
        bytes=_integer(form.get("size")) or 0,
        bitrate_bps=_integer(form.get("bit_rate")),
        streams=streams,
        chapters=len(document.get("chapters", [])),
        tags=_tags(form),
    )


def _stream(item: Mapping[str, Any]) -> StreamInfo:
    tags = _tags(item)
    lower = {key.lower(): value for key, value in tags.items()}
    dispositions = frozenset(name for name, value in item.get("disposition", {}).items() if value)
    kind = str(item.get("codec_type", "data"))
    return StreamInfo(
        index=int(item["index"]),
        kind=kind,
        codec=str(item.get("codec_name", "unknown")),
        language=lower.get("language"),
        title=lower.get("title"),
        duration=_seconds(item.get("duration")) or _seconds(lower.get("duration")),
        start=_seconds(item.get("start_time")),
        frames=_integer(item.get("nb_frames")) or _integer(lower.get("number_of_frames")),
        width=_side(item, "width", "crop_left", "crop_right"),
        height=_side(item, "height", "crop_top", "crop_bottom"),
        frame_rate=(_ratio(item.get("avg_frame_rate")) or _ratio(item.get("r_frame_rate")))
        if kind == "video"
        else None,
        sample_aspect=(_ratio(item.get("sample_aspect_ratio"), ":") or Fraction(1)) if kind == "video" else None,
        rotation=_rotation(item),
        pixel_format=item.get("pix_fmt"),
        field_order=_text_or_none(item.get("field_order")),
        color_transfer=_text_or_none(item.get("color_transfer")),
        color_primaries=_text_or_none(item.get("color_primaries")),
        color_space=_text_or_none(item.get("color_space")),
        channels=_integer(item.get("channels")) or None,
        sample_rate=_integer(item.get("sample_rate")) or None,
        bitrate_bps=_integer(item.get("bit_rate")) or _integer(lower.get("bps")),
        profile=_text_or_none(item.get("profile")),
        attached_picture="attached_pic" in dispositions,
        dispositions=dispositions,
        tags=tags,
    )


def _readable(stream: StreamInfo) -> bool:
    """Return whether the probe is more than a guess: ffprobe sometimes takes noise for MP3 or a raw stream."""
    match stream.kind:
        case "video":
            return bool(stream.width and stream.height)
        case "audio":
            return bool(stream.sample_rate and stream.channels)
        case kind:
            return kind == "subtitle"


def _tags(item: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in item.get("tags", {}).items()}


def _text_or_none(value: object) -> str | None:
    return str(value) if value not in {None, "", "unknown", "N/A"} else None


def _seconds(value: object) -> float | None:
    """Return `62.5` or Matroska's `00:01:02.500000000` as seconds; None for N/A."""
    if clock := _CLOCK.match(str(value)):
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    try:
        return float(str(value))
    except ValueError:
        return None


def _integer(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _ratio(value: object, separator: str = "/") -> Fraction | None:
    """Return `30000/1001` or `128:117` exactly; None for N/A, 0/0 and 0:1."""
    over, _, under = str(value).partition(separator)
    if not (over.isdigit() and under.isdigit()) or not int(over) or not int(under):
        return None
    return Fraction(int(over), int(under))


def _side(item: Mapping[str, Any], name: str, *crops: str) -> int | None:
    """Return what is shown of a side: ffmpeg since 7.1 reports what a container crops, and decodes without it."""
    coded = _integer(item.get(name)) or 0
    cropped = sum(_integer(side.get(crop)) or 0 for side in item.get("side_data_list", []) for crop in crops)
    return (coded - cropped if 0 <= cropped < coded else coded) or None


def _rotation(item: Mapping[str, Any]) -> int:
    """Return degrees clockwise; a display matrix counts counter-clockwise.

    MP4's matrix and Matroska's roll both arrive as one. A `rotate` tag alone turns nothing: since 5.0 ffmpeg
    does not look at it, so a picture measured by it would be squeezed.
    """
    for side in item.get("side_data_list", []):
        degrees = _seconds(side.get("rotation"))
        if degrees is not None:
            return round(-degrees / 90) * 90 % 360
    return 0
