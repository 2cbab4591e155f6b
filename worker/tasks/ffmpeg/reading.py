"""The sources of an ffmpeg task, and the streams of its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from worker.media.ffmpeg.command import KIND_NAMES
from worker.media.parts.refusal import Output
from worker.tasks.shared.measuring import probed_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.core.task import TaskContext
    from worker.media.ffmpeg.command import FfmpegParams, Kind
    from worker.media.ffmpeg.options import Encoder
    from worker.media.ffmpeg.promise import Promise


@dataclass(frozen=True, slots=True)
class Read:
    """The sources of a task as they are, and what its output will be."""

    sources: list[Path]
    infos: list[MediaInfo]
    encoders: Mapping[str, Encoder]
    promised: Promise

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


async def read_sources(locations: Sequence[str], context: TaskContext) -> tuple[list[Path], list[MediaInfo]]:
    """Return the local sources, and what they are."""
    paths, infos = [], []
    for location in locations:
        path = await context.input(location)
        paths.append(path)
        infos.append(await probed_source(path, location, context))
    return paths, infos
