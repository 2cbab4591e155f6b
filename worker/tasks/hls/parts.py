"""The module `hls` in parts: the plan, one part, the sounds and texts, and the join."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tarfile
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any, Final

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, ToolFailed, VerificationFailed
from worker.core.parts import Part, Whole, identity_of, part_key, with_short_end
from worker.core.parts import Plan as PartsPlan
from worker.media.ffmpeg.progress import Meter
from worker.media.hls.encode import encode_command
from worker.media.hls.parts import (
    OTHERS,
    OTHERS_SUFFIX,
    cuts_of,
    grid_of,
    join_command,
    others_of,
    part_command,
    ranges,
    refusal,
)
from worker.media.parts.proof import check_join
from worker.media.parts.timeline import PacketReader, packets_command
from worker.tasks.hls.sound import Levels, level_sounds
from worker.tasks.shared.decoding import require_undamaged
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
from worker.tasks.shared.running import progress_reporter, run_checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.core.parts import Fleet
    from worker.core.task import TaskContext
    from worker.media.hls.encode import Encoding
    from worker.media.hls.params import HlsParams
    from worker.media.hls.plan import Plan

_LEVELS: Final = "levels.json"
_JOIN_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Film:
    """A source, and the presentation that is made of it; `path` is empty where only its plan is asked for."""

    path: Path
    info: MediaInfo
    plan: Plan

    @property
    def encoding(self) -> Encoding:
        """Return all that one run would encode."""
        return self.plan.encoding(self.path)


async def plan_parts(
    params: HlsParams, film: Film, task: int, fleet: Fleet, build: str, context: TaskContext
) -> PartsPlan | Whole:
    """Return the parts of a presentation, or why it is not divided; the source is read once, nothing is decoded."""
    plan, video = film.plan, film.info.video
    if reason := refusal(plan):
        return Whole(reason)
    if plan.picture is None or video is None:
        return Whole("no picture is encoded")
    seconds = wanted_seconds(float(plan.duration), fleet, params.parts)
    if isinstance(seconds, Whole):
        return seconds
    remote = await remote_source(params.source, film.path, film.info.container, context)
    timeline = await read_timeline(film.path, video.index, film.info.container, context, remote)
    if isinstance(timeline, Whole):
        return timeline
    grid = grid_of(timeline, plan.picture, Fraction(str(film.info.begin)))
    if isinstance(grid, str):
        return Whole(grid)
    identity = await _identity(params, film, build, context)
    cuts = cuts_of(plan.picture, seconds)
    if params.parts == "auto":
        timing = plan.picture.timing
        cuts = with_short_end(cuts, timing.frame_rate, fleet, timing.gop * timing.gops)
    begins = [min(max(0, cut - grid.lead), timeline.frames - 1) for cut in cuts[:-1]]
    timeline = await with_clean_entries(timeline, begins, film.path, film.info, video.index)
    grid = replace(grid, timeline=timeline)
    parts = ranges(grid, cuts, identity, remote.needed if remote else None)
    if len(parts) < 2:  # noqa: PLR2004 - one part is the whole
        return Whole(TOO_SHORT)
    if others_of(film.encoding):
        parts.append(Part(len(parts), part_key(identity, OTHERS), name=OTHERS, suffix=OTHERS_SUFFIX))
    details = {"rate": str(timeline.rate), "picture": video.index, **known_sources([film.info])}
    details |= remote.index() if remote else {}
    return PartsPlan(task, grid.frames, identity, build, tuple(parts), details)


async def _identity(params: HlsParams, film: Film, build: str, context: TaskContext) -> str:
    """Return what all parts are made from: the source as it is now, what is made of it, and the program."""
    plan = film.plan
    made = [asdict(plan.picture) if plan.picture else None, [asdict(sound) for sound in plan.sounds], plan.reorder]
    levels = [choice.loudness.model_dump() if choice.loudness else None for choice in plan.choices]
    return identity_of(await context.version(params.source), made, levels, film.encoding.outputs, build)


async def is_planned(params: HlsParams, film: Film, plan: PartsPlan, context: TaskContext) -> bool:
    """Return whether the source and the renditions are those that were planned."""
    return await _identity(params, film, plan.build, context) == plan.identity


async def make_part(params: HlsParams, film: Film, plan: PartsPlan, part: Part, context: TaskContext) -> None:
    """Encode all renditions of one range, or all sounds and texts, and prove it."""
    output = context.output(part.file, role="part")
    if part.name == OTHERS:
        await _make_others(params, film, output, context)
        return

    async def encode(source: Path) -> None:
        command = part_command(film.plan.encoding(source), part, context.tool("ffmpeg"), output)
        await _run(Pipeline((command,), label="part"), Meter(part.frames), params, context)
        pictures = len(film.plan.picture.renditions) if film.plan.picture else 0
        await prove_part(output, part, Fraction(plan.details["rate"]), pictures, context)

    await encode_from(params.source, plan.details["picture"], plan, part, context, encode)


async def _make_others(params: HlsParams, film: Film, output: Path, context: TaskContext) -> None:
    plan, levels = await level_sounds(film.plan, film.path, context)
    encoding = replace(plan.encoding(film.path), picture=None)
    folder = context.scratch("others/x").parent
    command = encode_command(encoding, context.tool("ffmpeg"), folder)
    try:
        await _run(Pipeline((command,), label="sound"), Meter(seconds=float(plan.duration)), params, context)
    except (ToolFailed, InvalidJob):
        await require_undamaged(film.path, params.source, context)
        raise
    await asyncio.to_thread(_bundle, output, folder, encoding.outputs, levels)


async def _run(pipeline: Pipeline, meter: Meter, params: HlsParams, context: TaskContext) -> None:
    await run_checked(context, pipeline, params.source, progress_reporter(context, meter), reads_source=True)


def _bundle(output: Path, folder: Path, names: Sequence[str], levels: Levels) -> None:
    """Write one file that holds the files `names` of `folder` and what was measured, always the same bytes for them."""
    document = json.dumps({"facts": dict(levels.facts), "warnings": list(levels.warnings)}).encode()
    with tarfile.open(output, "w", format=tarfile.USTAR_FORMAT) as bundle:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = (folder / name).stat().st_size
            with (folder / name).open("rb") as content:
                bundle.addfile(entry, content)
        entry = tarfile.TarInfo(_LEVELS)
        entry.size = len(document)
        bundle.addfile(entry, io.BytesIO(document))


def _unbundle(path: Path, folder: Path, names: Sequence[str]) -> Levels:
    """Write the files `names` into `folder`, and return what was measured; VerificationFailed where one is missing."""
    try:
        with tarfile.open(path, "r:") as bundle:
            for name in names:
                with _content(bundle, name) as content, (folder / name).open("wb") as file:
                    shutil.copyfileobj(content, file)
            with _content(bundle, _LEVELS) as content:
                document: dict[str, Any] = json.loads(content.read())
    except (KeyError, ValueError, tarfile.TarError) as error:
        raise VerificationFailed(f"the part of the sound is not what was planned: {error}") from error
    return Levels(document["facts"], document["warnings"])


def _content(bundle: tarfile.TarFile, name: str) -> IO[bytes]:
    content = bundle.extractfile(name)
    if content is None:
        raise KeyError(f"{name} is no file")
    return content


async def join_parts(
    film: Film, plan: PartsPlan, parts: Mapping[int, Path], folder: Path, context: TaskContext
) -> None:
    """Put the files that a whole run would have encoded into `folder`, and prove that no picture is missing."""
    rate, picture = Fraction(plan.details["rate"]), film.plan.picture
    if picture is None:
        raise BadInput("the source has no picture")
    listing = await joinable(plan, rate, parts, context)
    meter = Meter(plan.frames)

    def advance(line: str) -> None:
        if meter.line(line) and meter.fraction is not None:
            context.report(meter.fraction * _JOIN_SHARE)

    command = join_command(film.encoding, listing, context.tool("ffmpeg"), folder)
    await run_checked(context, Pipeline((command,), label="join"), "the join", advance)
    for rendition in picture.renditions:
        reader = PacketReader(0, most=plan.frames + 1)
        path = folder / f"{rendition.name}.mp4"
        await read_packets(packets_command(context.tool("ffprobe"), path), reader, context)
        check_join(reader, plan, rate, rendition.name)
    for part in plan.named(OTHERS):
        levels = await asyncio.to_thread(_unbundle, parts[part.index], folder, others_of(film.encoding))
        levels.note(context)
