"""The module `ffmpeg` in parts: the plan, one part, the sound, and the join."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from worker.core.errors import BadInput, VerificationFailed
from worker.core.parts import (
    FRAMES,
    SHORTEST_SECONDS,
    Part,
    Plan,
    Whole,
    bounds,
    identity_of,
    part_key,
    with_short_end,
)
from worker.media.failure import classify, damage, failed_stage, ignored_option_lines
from worker.media.ffmpeg.formats import own_clock
from worker.media.ffmpeg.progress import Meter
from worker.media.parts.commands import (
    SOUND_SUFFIXES,
    Film,
    join_command,
    part_command,
    part_details,
    sound_command,
    sound_muxer,
)
from worker.media.parts.proof import (
    check_join,
    check_sound,
)
from worker.media.parts.refusal import Output, gop, refusal
from worker.media.parts.timeline import PacketReader, packets_command
from worker.tasks.shared.excerpts import encode_from, remote_source
from worker.tasks.shared.parts import (
    TOO_SHORT,
    joinable,
    known_sources,
    prove_part,
    read_packets,
    read_timeline,
    wanted_seconds,
    with_clean_entries,
)
from worker.tasks.shared.running import progress_reporter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.command import Pipeline
    from worker.core.media_info import MediaInfo
    from worker.core.parts import Fleet
    from worker.core.task import TaskContext
    from worker.media.ffmpeg.params import FfmpegParams
    from worker.media.parts.timeline import Timeline
    from worker.tasks.shared.excerpts import RemoteSource

SOUND: Final = "sound"
_JOIN_SHARE: Final = 0.7


async def plan_film(
    params: FfmpegParams,
    outputs: Sequence[Output],
    files: Sequence[tuple[Path, MediaInfo]],
    task: int,
    fleet: Fleet,
    build: str,
    context: TaskContext,
) -> Plan | Whole:
    """Return the parts of a film, or why it is not divided; the sources are read once, and nothing is decoded."""
    if reason := refusal(outputs, params.muxer, params.input_options):
        return Whole(reason)
    picture = next(output for output in outputs if output.is_film)
    path, info = files[picture.source]
    length = wanted_seconds(picture.stream.duration or info.duration or 0.0, fleet, params.parts)
    if isinstance(length, Whole):
        return length
    remote = await remote_source(params.sources[picture.source], path, info.container, context)
    timeline = await read_timeline(path, picture.stream.index, info.container, context, remote)
    if isinstance(timeline, Whole):
        return timeline
    multiple = gop(picture.options)
    cuts = bounds(timeline.frames, timeline.rate, length, multiple)
    if params.parts == "auto":
        cuts = with_short_end(cuts, timeline.rate, fleet, multiple)
    if multiple == 1:
        cuts = timeline.at_keys(cuts, SHORTEST_SECONDS * float(timeline.rate))
    if len(cuts) <= 2:  # noqa: PLR2004 - the beginning and the end
        return Whole(TOO_SHORT)
    timeline = await with_clean_entries(timeline, cuts[:-1], path, info, picture.stream.index)
    identity = await _identity(params, outputs, build, context)
    film = _parts(timeline, cuts, identity, remote)
    sounds = [output for output in outputs if output.is_encoded_sound]
    if sounds:
        suffix = SOUND_SUFFIXES[sound_muxer(sounds)]
        film.append(Part(len(film), part_key(identity, SOUND), name=SOUND, suffix=suffix))
    details = _details(timeline, files, picture) | (remote.index() if remote else {})
    return Plan(task, timeline.frames, identity, build, tuple(film), details)


def _parts(timeline: Timeline, cuts: Sequence[int], identity: str, remote: RemoteSource | None) -> list[Part]:
    """Return the ranges of pictures."""
    parts = []
    for index, (first, last) in enumerate(pairwise(cuts)):
        details: dict[str, Any] = {**part_details(timeline.before(first), timeline.before(last), timeline.seek(first))}
        details |= remote.needed(timeline, first, last) if remote else {}
        parts.append(Part(index, part_key(identity, FRAMES, first, last), first, last, details=details))
    return parts


def _details(timeline: Timeline, files: Sequence[tuple[Path, MediaInfo]], picture: Output) -> dict[str, Any]:
    starts = [Fraction(str(info.begin)) for _, info in files]
    return {
        "rate": str(timeline.rate),
        "offset": str(timeline.times[0] - starts[picture.source]),
        "starts": [str(start) for start in starts],
        "clocks": [list(own_clock(info)) for _, info in files],
        **known_sources([info for _, info in files]),
    }


async def _identity(params: FfmpegParams, outputs: Sequence[Output], build: str, context: TaskContext) -> str:
    """Return what all parts are made from: the sources as they are now, the options, and the program."""
    sources = [[source, await context.version(source)] for source in params.sources]
    made = [[output.source, output.stream.index, dict(output.options), output.loudness] for output in outputs]
    levels = [item.loudness.model_dump() for item in params.output_maps if item.loudness is not None]
    return identity_of(sources, made, dict(params.input_options), levels, build)


def film_of(plan: Plan, params: FfmpegParams, outputs: Sequence[Output]) -> Film:
    """Return what the parts of a plan and their join have in common."""
    details = plan.details
    starts = tuple(Fraction(start) for start in details["starts"])
    rate, offset = Fraction(details["rate"]), Fraction(details["offset"])
    clocks = tuple(tuple(clock) for clock in details.get("clocks", [[]] * len(starts)))
    return Film(rate, offset, starts, tuple(outputs), dict(params.input_options), clocks)


async def is_planned(params: FfmpegParams, plan: Plan, outputs: Sequence[Output], context: TaskContext) -> bool:
    """Return whether the sources and the options are those that were planned."""
    return await _identity(params, outputs, plan.build, context) == plan.identity


async def make_range(
    params: FfmpegParams, plan: Plan, part: Part, outputs: Sequence[Output], context: TaskContext
) -> None:
    """Encode a range of pictures, and prove it."""
    film = film_of(plan, params, outputs)
    output = context.output(part.file, role="part")

    async def encode(source: Path) -> None:
        command = part_command(context.tool("ffmpeg"), film, part, source, output)
        await _encode(command, Meter(part.frames), context)
        await prove_part(output, part, film.rate, 1, context)

    picture = film.picture
    await encode_from(params.sources[picture.source], picture.stream.index, plan, part, context, encode)


async def make_sound(
    params: FfmpegParams,
    plan: Plan,
    part: Part,
    outputs: Sequence[Output],
    sources: Sequence[Path],
    context: TaskContext,
) -> None:
    """Encode all sounds, and prove them."""
    film = film_of(plan, params, outputs)
    output = context.output(part.file, role="part")
    command = sound_command(context.tool("ffmpeg"), film, sources, output, sound_muxer(film.sounds))
    await _encode(command, Meter(seconds=float(plan.frames / film.rate)), context)
    info = await _probe_made(output, context)
    if len(info.of_kind("audio")) != len(film.sounds):
        raise VerificationFailed(f"the sound has {len(info.of_kind('audio'))} tracks instead of {len(film.sounds)}")


async def join_film(
    params: FfmpegParams,
    plan: Plan,
    parts: Mapping[int, Path],
    outputs: Sequence[Output],
    sources: Sequence[Path],
    context: TaskContext,
) -> MediaInfo:
    """Return what the joined film is, once it is proved to be its parts."""
    film, muxer = film_of(plan, params, outputs), params.muxer
    name = PurePosixPath(params.output_file).name
    listing = await joinable(plan, film.rate, parts, context)
    sound = next((parts[part.index] for part in plan.named(SOUND)), None)
    output = context.output(params.output_file)
    command = join_command(context.tool("ffmpeg"), film, sources, listing, sound, output, muxer)
    await _encode(command, Meter(plan.frames), context, share=_JOIN_SHARE)
    info = await _probe_made(output, context)
    position = next(index for index, item in enumerate(film.outputs) if item.is_film)
    reader = PacketReader(position, most=plan.frames + 1)
    await read_packets(packets_command(context.tool("ffprobe"), output), reader, context)
    check_join(reader, plan, film.rate, name)
    if sound is not None:
        positions = [index for index, item in enumerate(film.outputs) if item.is_encoded_sound]
        sound_reader = PacketReader(0)
        await read_packets(packets_command(context.tool("ffprobe"), sound), sound_reader, context)
        check_sound(reader, positions, sound_reader, name)
    return info


async def _encode(pipeline: Pipeline, meter: Meter, context: TaskContext, share: float = 1.0) -> None:
    exits = await context.run(pipeline, progress_reporter(context, meter, share))
    if bad := failed_stage(exits):
        raise classify(bad)
    if complaint := damage(exits[-1].tail):
        raise BadInput(f"a source is damaged or cut short: {complaint}")
    for line in ignored_option_lines(exits[-1].tail):
        context.warn(f"ffmpeg did not take an option: {line}")


async def _probe_made(path: Path, context: TaskContext) -> MediaInfo:
    try:
        return await context.probe(path)
    except BadInput as error:
        raise VerificationFailed(f"{path.name} is not what was promised: {error}") from error
