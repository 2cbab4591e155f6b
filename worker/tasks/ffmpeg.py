"""The module `ffmpeg`: streams chosen, encoded and joined into one file, which is then proved."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Final

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem, SourceMissing, ToolFailed, ToolMissing, VerificationFailed
from worker.core.message.wire import nearest
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.capabilities import coding_of, family_of, format_of
from worker.media.failure import classify, damage, failed, ignored
from worker.media.ffmpeg.command import FfmpegParams, OutputMap, ffmpeg_command, merged
from worker.media.ffmpeg.options import (
    Encoder,
    input_problems,
    output_problems,
    parse_encoder_options,
    parse_encoders,
)
from worker.media.ffmpeg.progress import Meter
from worker.media.ffmpeg.promise import Promise, promise
from worker.media.ffmpeg.streams import became
from worker.media.verify import check
from worker.tasks.shared.decoding import decoded
from worker.tasks.shared.languages import keep_languages
from worker.tasks.shared.loudness_pass import levelled, loudness_problems, proved_levels
from worker.tasks.shared.texts import utf8_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo

_TEXTS: Final = frozenset({"srt", "ass", "webvtt"})
"""Containers of ffprobe that are text files."""
NO_ENCODER: Final = frozenset({"copy"})
# Encoders that depend on the machine or on how ffmpeg was built; another worker may have what this one lacks.
_ELSEWHERE: Final = re.compile(
    r"^([a-z0-9]+_(nvenc|qsv|vaapi|amf|v4l2m2m|videotoolbox|omx|mf|vulkan|rkmpp|mediacodec|at)|"
    r"lib(x264|x264rgb|x265|svtav1|aom-av1|rav1e|vpx|vpx-vp9|vvenc|kvazaar|openh264|xvid|theora|webp|webp_anim|jxl|"
    r"openjpeg|opus|vorbis|mp3lame|twolame|fdk_aac|speex|shine|ilbc|gsm|codec2|opencore_amrnb|vo_amrwbenc|lc3|"
    r"xeve|oapv|xavs2|davs2))$"
)
_DECODE_SHARE: Final = 0.2


class FfmpegTask(Task[FfmpegParams]):
    """Runs ffmpeg once, on allowed options only, and publishes nothing that is not what was promised."""

    module: ClassVar[str] = "ffmpeg"
    params = FfmpegParams
    weight: ClassVar[float] = 10.0

    def __init__(self) -> None:
        self._encoders: dict[str, dict[str, Encoder]] = {}
        self._documented: dict[tuple[str, str], Encoder | None] = {}

    def files(self, params: FfmpegParams) -> Files:
        """Return the sources and the output."""
        reads = tuple(FileUse(f"sources[{index}]", source) for index, source in enumerate(params.sources))
        return Files(reads=reads, writes=(FileUse("output_file", params.output_file, params.overwrite),))

    def requires(self, params: FfmpegParams) -> frozenset[str]:
        """Return ffmpeg, each format that is named, and each encoder that is not in every ffmpeg.

        A hardware encoder for which software may stand in is no requirement: its format is.
        """
        named = {item.encoder for item in params.output_maps if item.encoder}
        names = {name for name in named if format_of(name) or _ELSEWHERE.match(name)}
        if params.hw_fallback:
            names = {(coding_of(name) or name) if family_of(name) else name for name in names}
        return frozenset({"tool:ffmpeg", *(f"encoder:{name}" for name in names)})

    async def prepare(self, params: FfmpegParams, lookup: Lookup) -> FfmpegParams:
        """Return `params` with option sets resolved and encoders by their own names.

        InvalidJob with every option, option set and encoder that is refused.
        """
        problems = list(input_problems(params.input_options, "input_options"))
        maps = []
        for index, item in enumerate(params.output_maps):
            path = f"output_maps[{index}]"
            try:
                resolved = await self._resolved(item, lookup, path)
                encoder = await self._encoder(resolved, lookup, path, hw_fallback=params.hw_fallback)
            except InvalidJob as error:
                problems += error.problems
                continue
            if encoder is not None:
                resolved = resolved.model_copy(update={"options": resolved.options | {"codec": encoder.name}})
            if encoder is not None or not _elsewhere(resolved.encoder):
                problems += _option_problems(resolved, encoder, path)
            problems += loudness_problems(resolved, path)
            maps.append(resolved)
        if problems:
            raise InvalidJob(problems)
        return params.model_copy(update={"output_maps": maps})

    async def _resolved(self, item: OutputMap, lookup: Lookup, path: str) -> OutputMap:
        stored: dict[str, Any] = {}
        if item.option_set is not None:
            try:
                stored = dict(await lookup.option_set(self.module, item.option_set))
            except InvalidJob as error:
                raise InvalidJob(
                    [Problem(f"{path}.option_set", problem.message) for problem in error.problems]
                ) from error
        return item.model_copy(update={"options": merged(stored, item.options), "option_set": None})

    async def _encoder(self, item: OutputMap, lookup: Lookup, path: str, *, hw_fallback: bool) -> Encoder | None:
        """Return the encoder that the options mean, None for none, copy, or one that only other workers have.

        CannotServe when they name a format, or a hardware encoder with a fallback, and none of it works here.
        """
        name = item.options.get("codec")
        if name is None or name in NO_ENCODER:
            return None
        if not isinstance(name, str) or not re.match(r"^[A-Za-z0-9_.-]{1,64}$", name):
            raise InvalidJob([Problem(f"{path}.options.codec", f"{str(name)[:64]!r} is no name of an encoder")])
        if format_of(name) or (hw_fallback and family_of(name)):
            return await self._fitting(lookup.encoders(name, hw_fallback=hw_fallback), item, lookup, path)
        encoder = await self._documentation(name, lookup)
        if encoder is None and not _elsewhere(name):
            known = (await self._listed(lookup)).keys() | {"copy"}
            raise InvalidJob([Problem(f"{path}.options.codec", f"unknown encoder {name!r}{nearest(name, known)}")])
        return encoder

    async def _fitting(self, names: Sequence[str], item: OutputMap, lookup: Lookup, path: str) -> Encoder | None:
        """Return the best encoder that takes the options: `crf` is x264's, and NVENC has none."""
        known = [encoder for name in names if (encoder := await self._documentation(name, lookup))]
        fitting = (encoder for encoder in known if not any(_option_problems(item, encoder, path)))
        return next(fitting, known[0] if known else None)

    async def _documentation(self, name: str, lookup: Lookup) -> Encoder | None:
        """Return what this host's ffmpeg documents of an encoder, or of the first one for a codec; kept for good."""
        ffmpeg = lookup.tool("ffmpeg")
        if (ffmpeg, name) not in self._documented:
            listed = await self._listed(lookup)
            if name not in listed and not any(encoder.codec == name for encoder in listed.values()):
                return None
            (answer,) = await lookup.run(Pipeline.of(ffmpeg, "-hide_banner", "-h", f"encoder={name}"))
            found, options = parse_encoder_options(answer.output)
            self._documented[ffmpeg, name] = replace(listed[found], options=options) if found in listed else None
        return self._documented[ffmpeg, name]

    async def _listed(self, lookup: Lookup) -> dict[str, Encoder]:
        ffmpeg = lookup.tool("ffmpeg")
        if ffmpeg not in self._encoders:
            (answer,) = await lookup.run(Pipeline.of(ffmpeg, "-hide_banner", "-encoders"))
            if not answer.ok:
                raise ToolFailed(str(answer))
            self._encoders[ffmpeg] = parse_encoders(answer.output)
        return self._encoders[ffmpeg]

    async def run(self, params: FfmpegParams, context: TaskContext) -> None:
        """Probe the sources, run ffmpeg, prove the output."""
        sources, infos = await _sources(params, context)
        encoders = await self._listed(context)
        if lacking := [
            item.encoder for item in params.output_maps if item.encoder not in {*encoders, *NO_ENCODER, None}
        ]:
            raise ToolMissing(f"this worker's ffmpeg has no encoder {lacking[0]}")
        promised = promise(params, infos, encoders)
        for warning in promised.arrangement.warnings:
            context.warn(warning)
        params, output = promised.arrangement.params, context.output(params.output_file)
        params = await levelled(params, sources, infos, context)
        frames = await _encode(params, context, sources, output, promised)
        info = await _probed(output, params.output_file, context)
        name = PurePosixPath(params.output_file).name
        check(info, replace(promised.expected, frames=frames), name)
        info = await keep_languages([one.stream for one in promised.arrangement.streams], info, output, name, context)
        context.note(f"streams.{name}", became(promised.arrangement, info))
        if params.verify == "decode":
            await decoded(output, name, context, seconds=info.duration, share=_DECODE_SHARE)
        await proved_levels(params, output, info, context)
        context.output(params.output_file, duration=info.duration)
        context.report(1.0)


def _elsewhere(name: str | None) -> bool:
    return name is not None and _ELSEWHERE.match(name) is not None


def _option_problems(item: OutputMap, encoder: Encoder | None, path: str) -> Iterable[Problem]:
    kind = item.specifier or (encoder.kind if encoder else None)
    if encoder is not None and item.specifier and item.specifier.lower() != encoder.kind:
        yield Problem(f"{path}.options.codec", f"{encoder.name!r} makes no {item.specifier!r} stream")
        return
    yield from output_problems(item.options, kind, encoder, f"{path}.options")


async def _sources(params: FfmpegParams, context: TaskContext) -> tuple[list[Path], list[MediaInfo]]:
    """Return the sources and what they are; subtitle files are in UTF-8, for ffmpeg would copy any bytes as letters."""
    paths, infos = [], []
    for number, location in enumerate(params.sources):
        path = await context.input(location)
        info = await context.probe(path)
        if info.container in _TEXTS:
            path = await utf8_file(path, location, params.charset, context, number=number)
        paths.append(path)
        infos.append(info)
    return paths, infos


async def _encode(
    params: FfmpegParams, context: TaskContext, sources: Sequence[Path], output: Path, promised: Promise
) -> int | None:
    """Return how many frames ffmpeg says it wrote, None when it told of none; raises what its failure means."""
    meter = Meter(promised.frames, promised.seconds)
    share = 1.0 - _DECODE_SHARE if params.verify == "decode" else 1.0

    def told(line: str) -> None:
        if meter.line(line):
            fraction = None if meter.fraction is None else meter.fraction * share
            context.report(fraction, fps=meter.step.fps, speed=meter.step.speed)

    command = ffmpeg_command(params, context.tool("ffmpeg"), sources, output, render_node=context.render_node)
    exits = await context.run(command, told)
    if bad := failed(exits):
        raise classify(bad)
    if complaint := damage(exits[-1].complaint):
        raise BadInput(f"a source is damaged or cut short: {complaint}")
    for line in ignored(exits[-1].tail):
        context.warn(f"ffmpeg did not take an option: {line}")
    return meter.step.frame


async def _probed(output: Path, location: str, context: TaskContext) -> MediaInfo:
    try:
        return await context.probe(output)
    except (BadInput, SourceMissing) as error:
        # what we made ourselves is no bad input and no missing source, whatever the probe says of it
        raise VerificationFailed(f"{PurePosixPath(location).name} is not what was promised: {error}") from error
