"""The promise of an ffmpeg task about its output: streams, duration and frames, or None where nobody can know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.media.ffmpeg.filters import REFRAMING, RETIMING, filter_names
from worker.media.ffmpeg.options import seconds_of
from worker.media.ffmpeg.params import KIND_NAMES, FfmpegParams, OutputMap
from worker.media.ffmpeg.streams import Arrangement, arrange
from worker.media.hls.ladder import film_seconds, stream_seconds
from worker.media.verify import Expected, ExpectedStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.ffmpeg.options import Encoder

# Containers whose stated duration is no guess from bytes and bit rate.
_TRUSTED: Final = frozenset({"mov", "matroska", "mpegts", "flac", "wav", "ogg", "avi", "asf", "mxf", "nut"})
_UNTIMED: Final = frozenset({"itsoffset", "itsscale", "r", "framerate", "sseof", "fflags", "ignore_editlist"})
_CUTS: Final = frozenset({"ss", "to", "t"})
# Outputs without a duration of their own, or with one that is guessed from their bit rate.
_TIMELESS: Final = frozenset(
    {"image2", "webp", "gif", "srt", "ass", "webvtt", "sup", "h264", "hevc", "adts", "ac3", "eac3", "dts", "ivf"}
)


@dataclass(frozen=True, slots=True)
class Promise:
    """The streams of the output and how they are made, what is expected, and the figures that progress is measured by.

    `frames` and `seconds` are of the whole run, None where they cannot be known.
    """

    arrangement: Arrangement
    expected: Expected
    frames: int | None
    seconds: float | None


def promise(params: FfmpegParams, infos: Sequence[MediaInfo], encoders: Mapping[str, Encoder]) -> Promise:
    """Return what the output will be; InvalidJob where `arrange` refuses the maps."""
    arrangement = arrange(params, infos, encoders)
    params, streams = arrangement.params, [(one.source, one.stream) for one in arrangement.streams]
    seconds = _duration(params, infos, streams)
    promised = _streams(params, [stream for _, stream in streams], encoders)
    expected = Expected(promised, at_least=seconds, at_most=_at_most(params, infos, streams, seconds))
    return Promise(arrangement, expected, _frames(params, [stream for _, stream in streams], seconds), seconds)


def output_position(output_map: OutputMap, streams: Sequence[StreamInfo]) -> int | None:
    """Return the index in the output of the stream that `output_map` means; None when there is no such stream."""
    wanted = KIND_NAMES[output_map.specifier.lower()] if output_map.specifier else None
    found = [index for index, stream in enumerate(streams) if wanted in {None, stream.kind}]
    number = output_map.stream or 0
    return found[number] if number < len(found) else None


def _streams(
    params: FfmpegParams, streams: Sequence[StreamInfo], encoders: Mapping[str, Encoder]
) -> tuple[ExpectedStream, ...]:
    codecs: dict[int, str | None] = {}
    for item in params.output_maps:
        place = output_position(item, streams)
        if place is None or item.encoder is None:
            continue
        encoder = encoders.get(item.encoder)
        codecs[place] = streams[place].codec if item.encoder == "copy" else encoder.codec if encoder else None
    return tuple(ExpectedStream(stream.kind, codecs.get(index)) for index, stream in enumerate(streams))


def _duration(
    params: FfmpegParams, infos: Sequence[MediaInfo], streams: Sequence[tuple[int, StreamInfo]]
) -> float | None:
    """Return the seconds that the output will last, None where an option, a filter or a container leaves it open."""
    options = params.input_options
    if params.muxer in _TIMELESS or _UNTIMED & options.keys() or _has_filter(params, RETIMING):
        return None
    if params.join:
        whole = [_length(info, [*info.of_kind("video")[:1], *info.audio[:1]]) for info in infos]
        return None if None in whole else sum(length or 0.0 for length in whole)
    lengths = [_length(info, [s for source, s in streams if source == i]) for i, info in enumerate(infos)]
    used = [lengths[source] for source in ({source for source, _ in streams} or range(len(infos)))]
    known = [length for length in used if length is not None]
    if not known or len(known) < len(used):
        return None
    return _cut_length(max(known), options)


def _at_most(
    params: FfmpegParams,
    infos: Sequence[MediaInfo],
    streams: Sequence[tuple[int, StreamInfo]],
    seconds: float | None,
) -> float | None:
    """Return the longest that the output may be: streams may begin apart, and a cut copy at the key frame before."""
    loose = any(stream.kind == "subtitle" for _, stream in streams) or not streams
    if seconds is None or loose or params.input_options.keys() - _CUTS:
        return None
    if params.input_options:
        return seconds
    if params.join:
        return seconds
    return max([seconds, *((film_seconds(info) or 0.0) for info in infos)])


def _length(info: MediaInfo, streams: Sequence[StreamInfo]) -> float | None:
    """Return how long the mapped streams of a source last: their own figures, or the file's if all are mapped."""
    if not info.measured and not _TRUSTED & set(info.container.split(",")):
        return None
    # subtitles end with their last cue, and pictures on a cover have no length
    timed = [s for s in streams if s.kind in {"video", "audio"} and not s.attached_picture]
    own = [stream_seconds(stream, info) for stream in timed]
    if timed and all(item is not None for item in own):
        return max(item for item in own if item is not None)
    # the file's own figure counts its longest stream, whichever that is
    return film_seconds(info) if timed and len(timed) == len(info.streams) else None


def _cut_length(length: float, options: Mapping[str, object]) -> float | None:
    loops = options.get("stream_loop", 0)
    start, end = seconds_of(options.get("ss", 0)), seconds_of(options.get("to", "inf"))
    limit = seconds_of(options.get("t", "inf"))
    if not str(loops).isdigit() or start is None or start < 0:
        return None if limit is None or not str(loops).startswith("-") else limit
    length = max(0.0, length * (int(str(loops)) + 1) - start)
    if end is not None and limit is None:
        length = min(length, max(0.0, end - start))
    return min(length, limit) if limit is not None else length


def _has_filter(params: FfmpegParams, filters: frozenset[str]) -> bool:
    return any(
        "frames" in item.options
        or any(name in filters for key in ("vf", "af", "filter") for name in _names(item.options.get(key)))
        for item in params.output_maps
    )


def _names(chain: object) -> tuple[str, ...]:
    return filter_names(chain) if isinstance(chain, str) else ()


def _frames(params: FfmpegParams, streams: Sequence[StreamInfo], seconds: float | None) -> int | None:
    """Return how many frames the first video output will have, at its source's rate."""
    video = next((s for s in streams if s.kind == "video" and not s.attached_picture), None)
    changed = {"r", "fpsmax", "fps_mode", "frames"}
    if video is None or video.frame_rate is None or seconds is None:
        return None
    if _has_filter(params, REFRAMING) or any(changed & item.options.keys() for item in params.output_maps):
        return None
    return max(1, round(seconds * video.frame_rate))
