"""The command that an ffmpeg task becomes."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.formats import GUARDS, own_clock
from worker.media.ffmpeg.options import arguments
from worker.media.ffmpeg.progress import OPTIONS as PROGRESS
from worker.media.ffmpeg.vaapi import USUAL_NODE, device, takes_uploads, with_upload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.media.ffmpeg.cutting import Piece
    from worker.media.ffmpeg.params import FfmpegParams, OutputMap

# One picture: without it image2 takes % in a name for a pattern, and webp makes a film that no probe reads.
_STILLS: Final = {"image2": ("-frames:v", "1", "-update", "1"), "webp": ("-frames:v", "1")}
# The index comes before the media, so that a player may begin before it has the whole file.
_FAST_START: Final = ("-movflags", "+faststart")
MUXER_OPTIONS: Final = _STILLS | dict.fromkeys(("mp4", "ipod", "mov", "3gp"), _FAST_START)
_TIMED: Final = frozenset({"mp4", "ipod", "mov", "3gp"})
# Options that set the pictures' times themselves.
_RATES: Final = frozenset({"r", "fpsmax", "fps_mode", "force_fps"})


def ffmpeg_command(
    params: FfmpegParams,
    ffmpeg: str,
    sources: Sequence[Path],
    output: Path,
    *,
    render_node: str = USUAL_NODE,
    graph: str | None = None,
    piece: Piece | None = None,
    infos: Sequence[MediaInfo] = (),
) -> Pipeline:
    """Return the run of one task: local `sources` in the order of `params.sources`, into the local `output`.

    `render_node` is the device of VAAPI encoders; `graph` the complex filter of `[v]` and `[a]`, instead of maps;
    `piece` what is cut out of the sources; `infos` what the sources are.
    """
    before = piece.input_options(params.input_options) if piece else params.input_options
    encoders = [item.encoder for item in params.output_maps]
    argv = [ffmpeg, "-nostdin", "-hide_banner", "-v", "warning", *PROGRESS, "-y", *device(encoders, render_node)]
    clocks = [own_clock(info) for info in infos] if "itsoffset" not in params.input_options else []
    for source, clock in zip_longest(sources, clocks, fillvalue=()):
        argv += [*GUARDS, *clock, *arguments(before), "-i", f"file:{source}"]
    if graph is not None:
        argv += ["-filter_complex", graph]
        argv += [
            part
            for label in ("[v]", "[a]")
            if graph.endswith(label) or f"{label};" in graph
            for part in ("-map", label)
        ]
    for source_map in params.source_maps if graph is None else ():
        argv += ["-map", str(source_map)]
    muxer = params.muxer
    for output_map in params.output_maps:
        options: Mapping[str, Any] = output_map.options
        if takes_uploads(output_map.encoder):
            options = with_upload(options, decoded_there=params.input_options.get("hwaccel_output_format") == "vaapi")
        argv += [*arguments(options, output_map.stream_specifier), *_own_times(output_map, muxer)]
    if piece:
        copied = [item for item in params.output_maps if item.encoder == "copy" and item.specifier in {"a", "s"}]
        argv += piece.output_arguments([item.stream_specifier.lstrip(":") for item in copied])
    argv += [*MUXER_OPTIONS.get(muxer, ()), "-f", muxer, f"file:{output}"]
    # SVT-AV1 writes its settings to standard error past ffmpeg's level; 1 is errors only
    return Pipeline((Command(tuple(argv), {"SVT_LOG": "1"}, folder=output.parent),))


def _own_times(output_map: OutputMap, muxer: str) -> tuple[str, ...]:
    """Return the options that keep an encoded picture's times in MP4: ffmpeg 5.1 would pad a late start with frames."""
    if output_map.specifier != "v" or output_map.encoder in {"copy", None} or muxer not in _TIMED:
        return ()
    if output_map.options.keys() & _RATES:
        return ()
    return (f"-fps_mode{output_map.stream_specifier}", "vfr")
