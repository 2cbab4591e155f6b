"""The sounds of a presentation: languages, and groups of them that belong to renditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem
from worker.media.empty import emptiness
from worker.media.ffmpeg.encoders import AUDIO_ENCODERS, bits_per_second
from worker.media.ffmpeg.mixing import limiter
from worker.media.hls.choice import chosen_streams
from worker.media.hls.encode import AudioRendition
from worker.media.hls.ladder import stream_end
from worker.media.languages import bcp47, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.hls.params import AudioParams, HlsParams, RenditionParams
    from worker.media.loudness import LoudnessParams

_PER_CHANNEL: Final = {"aac": 64_000, "ac3": 75_000, "eac3": 64_000, "libopus": 56_000}
PAD_SLACK: Final = 0.5


@dataclass(frozen=True, slots=True)
class SoundChoice:
    """One sound: a stream of the source under its language and title, as loud as `loudness` says."""

    rendition: AudioRendition
    loudness: LoudnessParams | None


@dataclass(frozen=True, slots=True)
class _Track:
    """A chosen stream of the source."""

    number: int
    stream: StreamInfo
    language: str
    title: str
    default: bool
    asked: AudioParams | None


@dataclass(frozen=True, slots=True)
class _Override:
    """The sounds of a rendition; equal ones share a group."""

    codec: str | None = None
    bitrate_bps: int | None = None
    channels: int | None = None
    loudness: LoudnessParams | None = None


def planned_sounds(
    params: HlsParams, info: MediaInfo, renditions: Sequence[str], duration: Fraction, warnings: list[str]
) -> tuple[tuple[SoundChoice, ...], tuple[AudioRendition, ...], dict[str, str | None]]:
    """Return the sounds, the encodings alone, and which group is played with which rendition.

    `renditions` are their names, in the order of the job's. InvalidJob for a stream or language that is not there.
    """
    tracks = _distinct_tracks(_tracks(params, info, warnings))
    overrides = [_override(asked) for asked in params.renditions] if renditions and params.renditions else [_Override()]
    distinct = list(dict.fromkeys(overrides))
    choices = tuple(
        _choice(item, override, index, params, info, duration)
        for index, override in enumerate(distinct)
        for item in tracks
    )
    groups: dict[str, str | None] = {}
    for index, name in enumerate(renditions):
        override = overrides[index] if params.renditions else overrides[0]
        groups[name] = _group(distinct.index(override)) if tracks else None
    return choices, tuple(choice.rendition for choice in choices), groups


def _override(asked: RenditionParams) -> _Override:
    bitrate = bits_per_second(asked.audio_bitrate) if asked.audio_bitrate is not None else None
    return _Override(asked.audio_codec, bitrate, asked.audio_channels, asked.loudness)


def _group(index: int) -> str:
    return f"sound-{index + 1}"


def _tracks(params: HlsParams, info: MediaInfo, warnings: list[str]) -> list[_Track]:
    streams = info.audio
    if params.audio is None:
        usable = [(number, stream) for number, stream in enumerate(streams) if stream.channels and not stream.empty]
        warnings += [
            f"{emptiness(stream, 'the source')}, and was left out"
            for stream in streams
            if stream.empty or not stream.channels
        ]
        first = next((n for n, stream in usable if "default" in stream.dispositions), usable[0][0] if usable else 0)
        return [
            _Track(n, s, bcp47(s.language), s.title or name_of(bcp47(s.language)), n == first, None) for n, s in usable
        ]
    chosen: list[_Track] = []
    problems: list[Problem] = []
    some_default = any(asked.default for asked in params.audio)
    for index, asked in enumerate(params.audio):
        numbers = chosen_streams(asked, streams)
        if not numbers:
            known = ", ".join(bcp47(stream.language) for stream in streams)
            message = f"the source has {len(streams)} audio streams ({known}), and not this one"
            problems.append(Problem(f"audio[{index}]", message))
        if empty := [streams[number] for number in numbers if streams[number].empty]:
            problems.append(Problem(f"audio[{index}]", emptiness(empty[0], "the source")))
        for number in numbers:
            language = bcp47((asked.language if not asked.every else None) or streams[number].language)
            default = asked.default if asked.default is not None else not some_default and not chosen
            title = asked.name or streams[number].title or name_of(language)
            chosen.append(_Track(number, streams[number], language, title, default, asked))
    if problems:
        raise InvalidJob(problems)
    return chosen


def _distinct_tracks(tracks: list[_Track]) -> list[_Track]:
    """Return the sounds with distinct titles and at most one default, as RFC 8216 4.3.4.1.1 requires of a group."""
    seen: dict[str, int] = {}
    result: list[_Track] = []
    defaulted = False
    for item in tracks:
        seen[item.title] = seen.get(item.title, 0) + 1
        title = item.title if seen[item.title] == 1 else f"{item.title} {seen[item.title]}"
        default = item.default and not defaulted
        defaulted = defaulted or default
        result.append(_Track(item.number, item.stream, item.language, title, default, item.asked))
    return result


def _choice(
    item: _Track, override: _Override, index: int, params: HlsParams, info: MediaInfo, duration: Fraction
) -> SoundChoice:
    asked = item.asked
    encoder = AUDIO_ENCODERS[override.codec or (asked.codec if asked else "aac")]
    usual = min(item.stream.channels or 2, 2)
    channels = override.channels or (asked.channels if asked else None) or usual
    own = bits_per_second(asked.bitrate) if asked and asked.bitrate is not None else None
    derived = _PER_CHANNEL[encoder] * channels if encoder in _PER_CHANNEL else None
    end = stream_end(item.stream, info)
    suffix = f"-{index + 1}" if index else ""
    rendition = AudioRendition(
        name=f"audio{item.number}-{item.language}{suffix}",
        stream=item.number,
        language=item.language,
        title=item.title,
        group=_group(index),
        encoder=encoder,
        bitrate_bps=override.bitrate_bps or own or derived,
        channels=channels,
        default=item.default,
        pad=None if end is None else max(0.0, float(duration) - end) + PAD_SLACK,
        limited=bool(limiter(item.stream, channels)),
    )
    return SoundChoice(rendition, override.loudness or (asked.loudness if asked else None) or params.loudness)
