"""The joining of sources one after another by ffmpeg's concat filter, so that no list is read from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.errors import InvalidJob, Problem
from worker.media.ffmpeg.mixing import NORMALIZED, layout, limiter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.ffmpeg.params import FfmpegParams

_MAX_CHANNELS = 8
_USUAL_RATE = 48_000


def joined_streams(infos: Sequence[MediaInfo]) -> tuple[StreamInfo, ...]:
    """Return the first source's picture and sound, which the joined film is like; InvalidJob for unlike sources."""
    first = infos[0]
    streams = tuple(filter(None, (first.video, first.audio[0] if first.audio else None)))
    problems = [
        Problem(f"sources[{index}]", f"has {_kinds(info)}, where the first source has {_kinds(first)}: see `join`")
        for index, info in enumerate(infos)
        if _kinds(info) != _kinds(first) or not streams
    ]
    if problems:
        raise InvalidJob(problems)
    return streams


def _kinds(info: MediaInfo) -> str:
    has = [word for word, there in (("a picture", info.video), ("a sound", info.audio)) if there]
    return " and ".join(has) or "neither picture nor sound"


def joining_graph(params: FfmpegParams, infos: Sequence[MediaInfo]) -> str:
    """Return the complex filter whose outputs `[v]` and `[a]` are the sources in their order, then the job's filters.

    Every picture is fitted into the first one's size, rate and pixels, every sound into its layout and rate.
    """
    video, audio = infos[0].video, infos[0].audio[0] if infos[0].audio else None
    parts, pads = [], []
    for index, info in enumerate(infos):
        if video is not None and info.video is not None:
            parts.append(f"[{index}:{info.video.index}]{_picture(video)}[v{index}]")
            pads.append(f"[v{index}]")
        if audio is not None:
            parts.append(f"[{index}:{info.audio[0].index}]{_sound_chain(audio, info.audio[0])}[a{index}]")
            pads.append(f"[a{index}]")
    kinds = [letter for letter, there in (("v", video), ("a", audio)) if there]
    ends = "".join(f"[{letter}c]" for letter in kinds)
    parts.append(f"{''.join(pads)}concat=n={len(infos)}:v={int('v' in kinds)}:a={int('a' in kinds)}{ends}")
    parts += [f"[{letter}c]{_own_filters(params, letter)}[{letter}]" for letter in kinds]
    return ";".join(parts)


def _picture(like: StreamInfo) -> str:
    width, height = like.width or 2, like.height or 2
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:-1:-1,setsar=1"
    rate = f",fps={like.frame_rate}" if like.frame_rate else ""
    return f"{fit}{rate},format={like.pixel_format or 'yuv420p'}"


def _sound_chain(like: StreamInfo, own: StreamInfo) -> str:
    rate = like.sample_rate or _USUAL_RATE
    channels = min(like.channels or 2, _MAX_CHANNELS)
    mix = (f"aresample={rate}:async=1:first_pts=0:{NORMALIZED}", f"aformat=channel_layouts={layout(channels)}")
    return ",".join([*mix, *limiter(own, channels)])


def _own_filters(params: FfmpegParams, letter: str) -> str:
    chains = [
        str(item.options[key])
        for item in params.output_maps
        if item.specifier == letter
        for key in ("vf", "af", "filter")
        if key in item.options
    ]
    return ",".join(chains) or ("null" if letter == "v" else "anull")


def without_filters(params: FfmpegParams) -> FfmpegParams:
    """Return `params` whose output maps have no filters: the graph has them, and ffmpeg takes only one of both."""
    maps = [
        item.model_copy(
            update={"options": {key: v for key, v in item.options.items() if key not in {"vf", "af", "filter"}}}
        )
        for item in params.output_maps
    ]
    return params.model_copy(update={"output_maps": maps})
