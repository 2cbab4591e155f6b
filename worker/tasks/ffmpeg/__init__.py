"""The module `ffmpeg`: streams chosen, encoded and joined into one file, which is then proved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from worker.core.errors import CannotServe, InvalidJob, PlanBroken, Problem
from worker.core.parts import Whole
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.capabilities import coding_of, family_of, format_of
from worker.media.failure import classify, failed_stage, ignored_option_lines
from worker.media.ffmpeg.command import ffmpeg_command
from worker.media.ffmpeg.options import input_problems
from worker.media.ffmpeg.params import FfmpegParams, OutputMap, merged_options
from worker.media.ffmpeg.progress import Meter
from worker.media.ffmpeg.promise import promise
from worker.media.ffmpeg.streams import Arrangement, joined_arrangement
from worker.tasks.ffmpeg.cutting import piece_for, refuse_stated_length
from worker.tasks.ffmpeg.encoders import Encoders, is_elsewhere, option_problems
from worker.tasks.ffmpeg.parts import SOUND, is_planned, join_film, make_range, make_sound, plan_film
from worker.tasks.ffmpeg.proof import (
    DECODE_SHARE,
    blame_empty_sources,
    name_empty_piece,
    name_refused_codecs,
    probe_output,
    prove_output,
    refuse_known_empty,
)
from worker.tasks.ffmpeg.reading import TEXTS, Read, copied_before_begin, outputs_of, read_sources, with_timestamps
from worker.tasks.shared.burning import burning_problems, prepare_burning
from worker.tasks.shared.loudness_pass import level_outputs, loudness_problems
from worker.tasks.shared.parts import Builds, sources_of
from worker.tasks.shared.running import progress_reporter, refuse_damage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.parts import Division, Fleet, Part, Plan


class FfmpegTask(Task[FfmpegParams]):
    """Runs ffmpeg once, on allowed options only, and publishes nothing that is not what was promised."""

    module: ClassVar[str] = "ffmpeg"
    params = FfmpegParams
    weight: ClassVar[float] = 10.0

    def __init__(self) -> None:
        self._encoders = Encoders()
        self._builds = Builds()

    def files(self, params: FfmpegParams) -> Files:
        """Return the sources and the output."""
        reads = [FileUse(f"sources[{index}]", source) for index, source in enumerate(params.sources)]
        reads += [
            FileUse(f"output_maps[{index}].burn.source", item.burn.source)
            for index, item in enumerate(params.output_maps)
            if item.burn is not None and item.burn.source is not None
        ]
        return Files(reads=tuple(reads), writes=(FileUse("output_file", params.output_file, params.overwrite),))

    def requires(self, params: FfmpegParams) -> frozenset[str]:
        """Return ffmpeg, each format that is named, and each encoder that is not in every ffmpeg.

        A hardware encoder for which software may stand in is no requirement: its format is.
        """
        named = {item.encoder for item in params.output_maps if item.encoder}
        names = {name for name in named if format_of(name) or is_elsewhere(name)}
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
                resolved = await self._resolve(item, lookup, path)
                encoder = await self._encoders.find(resolved, lookup, path, hw_fallback=params.hw_fallback)
            except InvalidJob as error:
                problems += error.problems
                continue
            if encoder is not None:
                resolved = resolved.model_copy(update={"options": resolved.options | {"codec": encoder.name}})
            if encoder is not None or not is_elsewhere(resolved.encoder):
                problems += option_problems(resolved, encoder, path)
            problems += loudness_problems(resolved, path)
            problems += burning_problems(resolved, path)
            maps.append(resolved)
        if problems:
            raise InvalidJob(problems)
        return params.model_copy(update={"output_maps": maps})

    async def _resolve(self, item: OutputMap, lookup: Lookup, path: str) -> OutputMap:
        stored: dict[str, Any] = {}
        if item.option_set is not None:
            try:
                stored = dict(await lookup.option_set(self.module, item.option_set))
            except InvalidJob as error:
                raise InvalidJob(
                    [Problem(f"{path}.option_set", problem.message) for problem in error.problems]
                ) from error
        return item.model_copy(update={"options": merged_options(stored, item.options), "option_set": None})

    async def run(self, params: FfmpegParams, context: TaskContext) -> None:
        """Probe the sources, run ffmpeg, prove the output."""
        read = await self._read(params, context)
        for warning in read.promised.arrangement.warnings:
            context.warn(warning)
        await refuse_known_empty(read, context)
        async with blame_empty_sources(read, context):
            await _make(read, context)

    def division(self, params: FfmpegParams) -> Division:
        """Return whether the data asks for parts."""
        return params.parts

    async def plan(self, params: FfmpegParams, task: int, fleet: Fleet, context: TaskContext) -> Plan | Whole:
        """Return the parts of the film, or why it is not divided."""
        read = await self._read(params, context)
        if params.damage == "accept":
            return Whole("damage of its sources is accepted")
        if params.join:
            return Whole("its sources are joined to one film")
        if any(item.burn for item in read.params.output_maps):
            return Whole("a subtitle is drawn into the picture by the film's clock")
        build = await self._builds.of(context)
        files = list(zip(read.sources, read.infos, strict=True))
        return await plan_film(read.params, read.outputs, files, task, fleet, build, context)

    async def holds(self, params: FfmpegParams, plan: Plan, context: TaskContext) -> bool:
        """Return whether the sources and the options are those that were planned."""
        read = await self._planned_read(params, plan, context) or await self._read(params, context)
        return await is_planned(read.params, plan, read.outputs, context)

    async def run_part(self, params: FfmpegParams, plan: Plan, part: Part, context: TaskContext) -> None:
        """Encode a range of frames, or the sound; prove it."""
        build = await self._builds.of(context)
        if build != plan.build:
            raise CannotServe(f"this worker has {build}, and the parts are made by {plan.build}")
        known = await self._planned_read(params, plan, context) if part.name != SOUND else None
        read = known or await self._read(params, context)
        if not await is_planned(read.params, plan, read.outputs, context):
            raise PlanBroken("the sources are not those that were planned")
        if part.name != SOUND:
            await make_range(read.params, plan, part, read.outputs, context)
            return
        outputs = outputs_of(await level_outputs(read.params, read.sources, read.infos, context), read.promised)
        async with blame_empty_sources(read, context):
            await make_sound(read.params, plan, part, outputs, read.sources, context)

    async def join(self, params: FfmpegParams, plan: Plan, parts: Mapping[int, Path], context: TaskContext) -> None:
        """Join the parts to the film that `run` would have made, and prove it as `run` does."""
        read = await self._planned_read(params, plan, context)
        if read is None or any(info.container in TEXTS for info in read.infos):
            read = await self._read(params, context)
        else:
            read = replace(read, sources=[await context.input(location) for location in params.sources])
        for warning in read.promised.arrangement.warnings:
            context.warn(warning)
        async with blame_empty_sources(read, context):
            info = await join_film(read.params, plan, parts, read.outputs, read.sources, context)
            await prove_output(read.params, read, info, plan.frames, context)

    async def _planned_read(self, params: FfmpegParams, plan: Plan, context: TaskContext) -> Read | None:
        """Return what the output will be of the sources as the plan knows them, of which none is read."""
        infos = sources_of(plan)
        if infos is None or len(infos) != len(params.sources):
            return None
        encoders = await self._encoders.require(params, context)
        return Read([], infos, encoders, promise(params, infos, encoders))

    async def _read(self, params: FfmpegParams, context: TaskContext) -> Read:
        """Return the sources, and what the output will be."""
        sources, infos = await read_sources(params, context)
        encoders = await self._encoders.require(params, context)
        promised = promise(params, infos, encoders)
        refuse_stated_length(promised.arrangement)
        piece = await piece_for(promised.arrangement, sources, infos, context)
        if piece is not None:
            cut = {"input_options": piece.promised(params.input_options)}
            promised = promise(params.model_copy(update=cut), infos, encoders)
        hidden = await copied_before_begin(promised, sources, infos, context)
        return Read(sources, infos, encoders, promised, piece, hidden)


async def _make(read: Read, context: TaskContext) -> None:
    """Run ffmpeg, and prove what it made."""
    params = read.params
    output = context.output(params.output_file)
    params = await level_outputs(params, read.sources, read.infos, context)
    params = with_timestamps(await prepare_burning(params, read.sources, output.parent, context), read)
    arrangement = joined_arrangement(replace(read.promised.arrangement, params=params), read.infos)
    params = arrangement.params
    frames, said = await _encode(arrangement, read, output, context)
    with name_refused_codecs(said), name_empty_piece(read):
        await prove_output(params, read, await probe_output(output, params.output_file, context), frames, context)


async def _encode(arrangement: Arrangement, read: Read, output: Path, context: TaskContext) -> tuple[int | None, str]:
    """Return how many frames ffmpeg says it wrote, None when it named none, and its last words.

    Raises what its failure means.
    """
    params = arrangement.params
    meter = Meter(read.promised.frames, read.promised.seconds)
    share = 1.0 - DECODE_SHARE if params.verify == "decode" else 1.0

    command = ffmpeg_command(
        params,
        context.tool("ffmpeg"),
        read.sources,
        output,
        render_node=context.render_node,
        graph=arrangement.graph,
        piece=read.piece,
        infos=read.infos,
    )
    exits = await context.run(command, progress_reporter(context, meter, share))
    if bad := failed_stage(exits):
        raise classify(bad)
    refuse_damage(exits[-1].complaint, "a source", context, params.damage)
    for line in ignored_option_lines(exits[-1].tail):
        context.warn(f"ffmpeg did not take an option: {line}")
    return meter.step.frame, exits[-1].tail
