"""The loudness that output maps of the ffmpeg module ask for: measured, made a filter, and measured in the output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem
from worker.media.ffmpeg.mapping import mapped_streams, source_summary
from worker.media.ffmpeg.mixing import NORMALIZED, encoder_layout, layout
from worker.media.ffmpeg.options import arguments, value_text
from worker.media.ffmpeg.promise import output_position
from worker.tasks.loudness import Sound, level_filter, measured_loudness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.core.task import TaskContext
    from worker.media.ffmpeg.params import FfmpegParams, OutputMap

TOLERANCE: Final = 0.5
"""LU: a measured output may differ from its target by this much."""
_USUAL_RATE: Final = 48_000
_MAX_CHANNELS: Final = 8
_LAYOUTS: Final = "mono|stereo|2.1|3.0|4.0|quad|quad(side)|5.0|5.0(side)|5.1|5.1(side)|6.0|6.1|7.0|7.1|7.1(wide)"
_LAYOUT: Final = re.compile(r"^[A-Za-z0-9.()+]{1,64}$")


def loudness_problems(item: OutputMap, path: str) -> Iterator[Problem]:
    """Yield why the loudness that an output map asks for cannot be made; its option set is resolved."""
    if item.loudness is None:
        return
    if item.encoder == "copy":
        yield Problem(f"{path}.loudness", "needs an encoder: a sound that is copied keeps its loudness")
    if {"af", "filter"} <= item.options.keys():
        yield Problem(f"{path}.options.filter", "goes with no af: loudness follows one chain of filters")


async def level_outputs(
    params: FfmpegParams, sources: Sequence[Path], infos: Sequence[MediaInfo], context: TaskContext
) -> FfmpegParams:
    """Return the data with the filters that bring each sound to the loudness its output map asks for."""
    streams = [
        (item.source, stream) for item in params.source_maps for stream in mapped_streams(item, infos[item.source])
    ]
    maps = []
    for index, item in enumerate(params.output_maps):
        place = output_position(item, [stream for _, stream in streams])
        if item.loudness is None or place is None:
            maps.append(item)
            continue
        number, stream = streams[place]
        if stream.kind != "audio":
            has = source_summary(infos[number])
            raise InvalidJob([Problem(f"output_maps[{index}].loudness", f"means a {stream.kind} stream: {has}")])
        sound = Sound(sources[number], f"0:{stream.index}", tuple(arguments(params.input_options)))
        maps.append(await _level_output(item, sound, stream, context))
    return params.model_copy(update={"output_maps": maps})


async def _level_output(item: OutputMap, sound: Sound, stream: StreamInfo, context: TaskContext) -> OutputMap:
    if item.loudness is None:
        return item
    rate = _sample_rate(item.options, stream)
    chain = ",".join([*_own_filters(item.options), f"aresample={rate}:{NORMALIZED}", _channels(item.options, stream)])
    filters, measured = await level_filter(sound, chain, rate, item.loudness, context)
    name = item.stream_specifier.lstrip(":")
    if measured.is_silent:
        context.warn(f"{name} is silent, so its loudness was left alone")
        return item
    context.note(f"loudness.{name}", {"source": measured.integrated, "filter": filters})
    rest = {key: value for key, value in item.options.items() if key != "filter"}
    return item.model_copy(update={"options": rest | {"af": f"{chain},{filters}"}})


def _own_filters(options: Mapping[str, object]) -> list[str]:
    own = options.get("af", options.get("filter"))
    return [own] if isinstance(own, str) and own.strip() else []


def _channels(options: Mapping[str, object], stream: StreamInfo) -> str:
    """Return the filter for the channels that are asked for: ffmpeg would mix them after the level has been set.

    Where none are asked for it takes any: between two resamplers ffmpeg 5.1 forgets the layout behind highpass and its
    kin ("Cannot select channel layout"), and a list of them, after the first resampler, makes it remember.
    """
    wanted = next((str(options[key]) for key in ("ch_layout", "channel_layout") if key in options), None)
    channels = str(options.get("ac", ""))
    if wanted is None and channels.isdigit() and 1 <= int(channels) <= _MAX_CHANNELS:
        wanted = layout(int(channels))
    if wanted is None and not channels:
        wanted = encoder_layout(options.get("codec"), stream.channels or 0)
    return f"aformat=channel_layouts={wanted if wanted is not None and _LAYOUT.match(wanted) else _LAYOUTS}"


def _sample_rate(options: Mapping[str, object], stream: StreamInfo) -> int:
    asked = value_text(options.get("ar", ""))
    return int(asked) if re.match(r"^[1-9]\d{3,5}$", asked) else stream.sample_rate or _USUAL_RATE


async def prove_levels(params: FfmpegParams, output: Path, info: MediaInfo, context: TaskContext) -> None:
    """Note how loud each sound of the output that was to be levelled is, and warn where the target was not met.

    A target may be beyond reach: a limiter holds true peaks down, and an encoder for few bits loses treble.
    """
    for item in params.output_maps:
        place = output_position(item, info.streams)
        if item.loudness is None or place is None:
            continue
        reached = await measured_loudness(Sound(output, f"0:{info.streams[place].index}"), "", context)
        if reached.is_silent:
            continue
        name = item.stream_specifier.lstrip(":")
        context.note(f"loudness.{name}.output", {"integrated": reached.integrated, "true_peak": reached.peak})
        if abs(reached.integrated - item.loudness.target) > TOLERANCE:
            wanted = f"{item.loudness.target:g} LUFS with peaks up to {item.loudness.true_peak:g} dBTP"
            context.warn(f"{name} came to {reached.integrated:g} LUFS, not to {wanted}")
