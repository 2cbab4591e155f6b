"""The sources of an ffmpeg task, and the streams of its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, cast

from worker.core.errors import InvalidJob, Problem
from worker.media.ffmpeg.params import KIND_NAMES
from worker.media.hidden import KEEPERS
from worker.media.parts.refusal import Output
from worker.tasks.shared.hidden import hidden_parts, warn_of_begin
from worker.tasks.shared.measuring import probe_source
from worker.tasks.shared.texts import utf8_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.core.task import TaskContext
    from worker.media.ffmpeg.cutting import Piece
    from worker.media.ffmpeg.options import Encoder
    from worker.media.ffmpeg.params import FfmpegParams, Kind
    from worker.media.ffmpeg.promise import Promise

TEXTS: Final = frozenset({"srt", "ass", "webvtt"})
"""Containers of ffprobe that are text files: they are read in UTF-8, whatever they are written in."""
_UNTIMED: Final = frozenset({"mpeg", "avi"})
"""Containers where a picture may have no time of its own, which other containers must have."""


@dataclass(frozen=True, slots=True)
class Read:
    """The sources of a task as they are, what its output will be, and the piece that is cut out of them.

    `hidden` is by how much a copy begins before its film, which an edit list hides.
    """

    sources: list[Path]
    infos: list[MediaInfo]
    encoders: Mapping[str, Encoder]
    promised: Promise
    piece: Piece | None = None
    hidden: float = 0.0

    @property
    def params(self) -> FfmpegParams:
        """Return the data with one map for each stream."""
        return self.promised.arrangement.params

    @property
    def outputs(self) -> list[Output]:
        """Return the streams of the output, each with how it is made."""
        return outputs_of(self.params, self.promised)


def outputs_of(params: FfmpegParams, promised: Promise) -> list[Output]:
    """Return the streams of the output, each with how it is made."""
    how = {(item.specifier, item.stream): item for item in params.output_maps}
    letters = {name: letter for letter, name in KIND_NAMES.items()}
    counts: dict[str, int] = {}
    outputs = []
    for one in promised.arrangement.streams:
        letter = letters.get(one.stream.kind, "d")
        number = counts.get(letter, 0)
        counts[letter] = number + 1
        item = how.get((cast("Kind", letter), number))
        options = item.options if item else {}
        outputs.append(Output(one.source, one.stream, letter, number, options, loudness=bool(item and item.loudness)))
    return outputs


async def read_sources(params: FfmpegParams, context: TaskContext) -> tuple[list[Path], list[MediaInfo]]:
    """Return the sources and what they are; subtitle files are in UTF-8, for ffmpeg would copy any bytes as letters."""
    paths, infos = [], []
    for number, location in enumerate(params.sources):
        path = await context.input(location)
        info = await probe_source(path, location, context)
        if info.container in TEXTS:
            path = await utf8_file(path, location, params.charset, context, number=number)
        paths.append(path)
        infos.append(info)
    return paths, infos


async def copied_before_begin(
    promised: Promise, sources: list[Path], infos: list[MediaInfo], context: TaskContext
) -> float:
    """Return the seconds that copied streams begin before their films, as edit lists hide them.

    InvalidJob where an edit list hides more than a begin: what a copy of the pieces makes of it is no film.
    """
    params = promised.arrangement.params
    copied = [one for one in outputs_of(params, promised) if one.is_copied]
    shows = PurePosixPath(params.output_file).suffix.lower() not in KEEPERS and not params.input_options
    most = 0.0
    for number, (path, info) in enumerate(zip(sources, infos, strict=True)):
        own = [one.stream for one in copied if one.source == number]
        name = PurePosixPath(params.sources[number]).name
        before, elsewhere = await hidden_parts(path, name, info, own, context, every=False)
        if elsewhere:
            message = f"the edit list of {name} leaves out {elsewhere:.2f} s of its film, which a copy shows: encode it"
            raise InvalidJob([Problem(f"sources[{number}]", message)])
        if shows:
            warn_of_begin(name, before, context)
            most = max(most, before)
    return most


def with_timestamps(params: FfmpegParams, read: Read) -> FfmpegParams:
    """Return the data with times made up for copied pictures of containers that leave some pictures without."""
    kinds = [item.encoder for item in params.output_maps if item.specifier == "v"]
    untimed = any(_UNTIMED & set(info.container.split(",")) for info in read.infos)
    if not untimed or "copy" not in kinds or "fflags" in params.input_options:
        return params
    return params.model_copy(update={"input_options": {**params.input_options, "fflags": "+genpts"}})
