"""The proof of what ffmpeg made: against the promise, against what was asked, and against streams that hold nothing."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from worker.core.errors import BadInput, InvalidJob, Problem, SourceMissing, ToolFailed, VerificationFailed
from worker.media.empty import emptiness, may_be_empty
from worker.media.ffmpeg.asked import differences, lost_colours
from worker.media.ffmpeg.promise import promise
from worker.media.ffmpeg.streams import became
from worker.media.ordering import is_disordered, lacks_times, shown_times_command
from worker.tasks.shared.decoding import prove_by_decoding
from worker.tasks.shared.empty import holds_nothing, refuse_empty
from worker.tasks.shared.languages import keep_languages
from worker.tasks.shared.loudness_pass import prove_levels
from worker.tasks.shared.measuring import check_output, measure_suspects
from worker.tasks.shared.pictures import mastering_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.core.task import TaskContext
    from worker.media.ffmpeg.params import FfmpegParams
    from worker.media.ffmpeg.promise import Promise
    from worker.media.verify import Expected
    from worker.tasks.ffmpeg.reading import Read

DECODE_SHARE: Final = 0.2
_PQ: Final = "smpte2084"
_PRIVATE: Final = re.compile(r"codec (\S+), is muxed as a private data stream")
_JUDGED: Final = frozenset({"video", "audio", "subtitle"})


async def prove_output(
    params: FfmpegParams, read: Read, info: MediaInfo, frames: int | None, context: TaskContext
) -> None:
    """Prove the output, and note what it is."""
    name, output = PurePosixPath(params.output_file).name, context.output(params.output_file)
    try:
        info = await check_output(info, _expectation(read.promised, read, frames), output, name, context)
    except VerificationFailed as error:
        claims = list(zip(read.infos, read.sources, params.sources, strict=True))
        promised = promise(read.params, await measure_suspects(error, claims, context), read.encoders)
        info = await check_output(info, _expectation(promised, read, frames), output, name, context)
    await _refuse_emptied(read, info, output, name, context)
    await _refuse_disordered(read, info, output, context)
    _check_options(params, info, context)
    await _warn_of_lost_mastering(read, info, output, context)
    streams = [one.stream for one in read.promised.arrangement.streams]
    info = await keep_languages(streams, info, output, name, context)
    context.note(f"streams.{name}", became(read.promised.arrangement, info))
    if params.verify == "decode":
        await prove_by_decoding(output, name, context, seconds=info.duration, share=DECODE_SHARE)
    await prove_levels(params, output, info, context)
    context.output(params.output_file, duration=info.duration)
    context.report(1.0)


def _expectation(promised: Promise, read: Read, frames: int | None) -> Expected:
    """Return what is expected of the output, with what a copy shows before the film's begin."""
    most = promised.expected.at_most
    return replace(promised.expected, frames=frames, at_most=None if most is None else most + read.hidden)


@asynccontextmanager
async def blame_empty_sources(read: Read, context: TaskContext) -> AsyncIterator[None]:
    """Turn what fails because a stream of a source holds nothing into BadInput: it would fail at every try."""
    try:
        yield
    except (ToolFailed, VerificationFailed) as error:
        try:
            for number, path in enumerate(read.sources):
                own = [(one.stream, one.is_copied) for one in read.outputs if one.source == number]
                await refuse_empty(path, PurePosixPath(read.params.sources[number]).name, own, context)
        except BadInput as empty:
            raise empty from error
        raise


@contextmanager
def name_refused_codecs(said: str) -> Iterator[None]:
    """Turn an output that lacks a stream into InvalidJob where ffmpeg says that its container has no place for it.

    A transport stream takes every codec, as private data that no program reads.
    """
    try:
        yield
    except VerificationFailed as error:
        if private := _PRIVATE.search(said):
            message = f"a transport stream does not carry {private[1]}: encode it, or write another container"
            raise InvalidJob([Problem("output_file", message)]) from error
        raise


@contextmanager
def name_empty_piece(read: Read) -> Iterator[None]:
    """Turn an output that fails its proof into InvalidJob where the job asks for a piece that begins after the end."""
    try:
        yield
    except VerificationFailed as error:
        if read.promised.seconds == 0 and read.params.input_options:
            names = ", ".join(PurePosixPath(source).name for source in read.params.sources)
            message = f"leave nothing of {names}: the piece begins after the end"
            raise InvalidJob([Problem("input_options", message)]) from error
        raise


async def refuse_known_empty(read: Read, context: TaskContext) -> None:
    """Return if no stream that is to be encoded is empty, as far as its file lets one suspect; BadInput otherwise."""
    for number, path in enumerate(read.sources):
        info = read.infos[number]
        own = [one for one in read.outputs if one.source == number and not one.is_copied]
        suspected = [(one.stream, False) for one in own if may_be_empty(one.stream, info)]
        await refuse_empty(path, PurePosixPath(read.params.sources[number]).name, suspected, context)


async def _refuse_emptied(read: Read, info: MediaInfo, output: Path, name: str, context: TaskContext) -> None:
    """Return if every stream of the output has a packet; a copied one that has none is a warning, for so was it."""
    judged = [stream for stream in info.streams if stream.kind in _JUDGED]
    made = [one for one in read.outputs if one.stream.kind in _JUDGED]
    for one, stream in zip(made, judged, strict=False):
        if not may_be_empty(stream, info) or not await holds_nothing(output, stream, context, copied=True):
            continue
        if not one.is_copied:
            raise VerificationFailed(f"{name} is not what was promised: {emptiness(stream, name, copied=True)}")
        context.warn(f"{emptiness(stream, name, copied=True)}, as in its source")


async def _refuse_disordered(read: Read, info: MediaInfo, output: Path, context: TaskContext) -> None:
    """Return if copied pictures that had no times of their own are shown in their order; InvalidJob otherwise.

    ffmpeg (5.1 to 9) makes up wrong ones where pictures depend on later ones in more than one step (H.264 in AVI or
    raw), and where one packet has two of them (packed B-frames).
    """
    judged = [stream for stream in info.streams if stream.kind in _JUDGED]
    made = [one for one in read.outputs if one.stream.kind in _JUDGED]
    for one, stream in zip(made, judged, strict=False):
        is_picture = one.stream.kind == "video" and not one.stream.attached_picture
        if not (one.is_copied and is_picture and lacks_times(read.infos[one.source])):
            continue
        (exit_,) = await context.run(shown_times_command(context.tool("ffprobe"), output, stream.index))
        if exit_.ok and is_disordered(exit_.output):
            name = PurePosixPath(read.params.sources[one.source]).name
            message = (
                f"the pictures of {name} have no times of their own, and a copy by ffmpeg would show them out of"
                " order: encode them, or copy them with the module mkvmerge"
            )
            raise InvalidJob([Problem(f"sources[{one.source}]", message)])


async def _warn_of_lost_mastering(read: Read, info: MediaInfo, output: Path, context: TaskContext) -> None:
    """Warn where HDR10 stays HDR10 and loses what it says of its mastering: most encoders write none of it."""
    pictures = [one for one in read.promised.arrangement.streams if one.stream.color_transfer == _PQ]
    if not pictures or info.video is None or info.video.color_transfer != _PQ:
        return
    had = await mastering_in(read.sources[pictures[0].source], context)
    has = await mastering_in(output, context)
    if had and had != has:
        hint = f'; x265 keeps it by "x265-params": "hdr10=1:{had}"'
        context.warn(f"mastering display and content light level of the source are not in the output{hint}")


def _check_options(params: FfmpegParams, info: MediaInfo, context: TaskContext) -> None:
    """Return if every stream is what its options ask for; InvalidJob, or warnings where the job is content with less.

    No retry would help: the encoder takes the nearest that it can do, at every try.
    """
    found = [
        (f"{item.stream_specifier.lstrip(':')} {option}", difference)
        for item, option, difference in differences(params.output_maps, info)
    ]
    if found and not params.approximate:
        raise InvalidJob([Problem(where, f'{difference}; "approximate": true takes it') for where, difference in found])
    for where, difference in found:
        context.warn(f"{where}: {difference}")
    for lost in lost_colours(params.output_maps, info):
        context.warn(lost)


async def probe_output(output: Path, location: str, context: TaskContext) -> MediaInfo:
    """Return what the finished file is; VerificationFailed where it is no media."""
    try:
        return await context.probe(output)
    except (BadInput, SourceMissing) as error:
        # what we made ourselves is no bad input and no missing source, whatever the probe says of it
        raise VerificationFailed(f"{PurePosixPath(location).name} is not what was promised: {error}") from error
