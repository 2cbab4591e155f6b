"""The module `handbrake`: one run of HandBrakeCLI, which is then proved."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem, ToolFailed, VerificationFailed
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.failure import classify, failed_stage
from worker.media.handbrake.command import HandbrakeMeter, HandbrakeParams, handbrake_command, own_words
from worker.media.handbrake.piece import piece_of
from worker.media.hls.ladder import film_seconds
from worker.media.verify import Expected, check
from worker.tasks.shared.decoding import prove_by_decoding
from worker.tasks.shared.empty import refuse_empty
from worker.tasks.shared.measuring import measure_suspects, probe_source
from worker.tasks.shared.running import refuse_damage

if TYPE_CHECKING:
    from worker.core.command import Exit
    from worker.core.media_info import MediaInfo

_ENCODING: Final = "Starting Task: Encoding"
_WITHOUT_INDEX: Final = frozenset({"mpegts", "mpeg"})
_WORDS: Final = (
    "ERROR: Invalid",
    "ERROR: Unsupported",
    "ERROR: unknown",
    "unknown option",
    "Unknown option",
    "x264 [error]: invalid",
    "x265 [error]",
)
_CODES: Final = {1: "was cancelled", 2: "found no title to encode", 3: "failed to encode", 4: "failed to start"}


class HandbrakeTask(Task[HandbrakeParams]):
    """Runs HandBrakeCLI."""

    module: ClassVar[str] = "handbrake"
    params = HandbrakeParams
    weight: ClassVar[float] = 10.0

    def files(self, params: HandbrakeParams) -> Files:
        """Return the film and the new file."""
        return Files(
            (FileUse("source", params.source),), (FileUse("output_file", params.output_file, params.overwrite),)
        )

    def requires(self, params: HandbrakeParams) -> frozenset[str]:
        """Return HandBrake."""
        del params
        return frozenset({"tool:handbrake", "tool:ffprobe"})

    async def prepare(self, params: HandbrakeParams, lookup: Lookup) -> HandbrakeParams:
        """Return `params`; ToolMissing without HandBrake."""
        lookup.tool("handbrake")
        return params

    async def run(self, params: HandbrakeParams, context: TaskContext) -> None:
        """Probe the film, which refuses lists of files, encode it, and look at what came out."""
        source = await context.input(params.source)
        info = await probe_source(source, params.source, context)
        _refuse_nothing(params, info)
        output = context.output(params.output_file)
        meter = HandbrakeMeter()

        def on_line(line: str) -> None:
            if meter.line(line):
                context.report(meter.fraction, fps=meter.fps)

        command = handbrake_command(params, context.tool("handbrake"), source, output)
        exits = await context.run(Pipeline((command,), label="handbrake"), on_line)
        if bad := failed_stage(exits):
            raise handbrake_failure(bad, params)
        if not await asyncio.to_thread(output.exists):
            raise handbrake_failure(exits[-1], params)
        # ignore complaints of the title scan: it starts in the middle of a picture in a stream without an index
        said = exits[-1].complaint
        said = said.rpartition(_ENCODING)[2] if info.container in _WITHOUT_INDEX else said
        refuse_damage(said, params.source, context, params.damage)
        made = await context.probe(output)
        try:
            prove_film(params, info, made)
        except VerificationFailed as error:
            await refuse_empty(source, params.source, ((stream, False) for stream in info.streams), context)
            (info,) = await measure_suspects(error, [(info, source, params.source)], context)
            prove_film(params, info, made)
        if params.verify == "decode":
            await prove_by_decoding(output, params.output_file, context)
        context.output(params.output_file, duration=made.duration)
        context.report(1.0)


def _refuse_nothing(params: HandbrakeParams, info: MediaInfo) -> None:
    """Return if the piece begins within the film; InvalidJob otherwise: HandBrake would write an empty file."""
    piece, seconds = piece_of(params.source_options, info), film_seconds(info)
    if piece is not None and seconds is not None and piece[0] >= seconds:
        message = f"begins at {piece[0]:.2f} s, but the film lasts {seconds:.2f} s"
        raise InvalidJob([Problem("source_options.start-at", message)])


def handbrake_failure(exit_: Exit, params: HandbrakeParams) -> Exception:
    """Return what HandBrake's end means; it exits 0 too when it refuses an option."""
    exit_ = replace(exit_, tail=own_words(exit_.tail))
    lines = [line.strip() for line in exit_.complaint.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(_WORDS)), "")
    if said:
        return InvalidJob([Problem("", f"HandBrake refuses its options: {said}")])
    error = classify(exit_, params.source)
    if not isinstance(error, ToolFailed) or exit_.code is None:
        return error
    message = f"{params.source}: HandBrake {_CODES.get(exit_.code, 'made nothing')}: {exit_}"
    return BadInput(message) if exit_.code == 2 else ToolFailed(message, passing=error.passing)  # noqa: PLR2004  # no title, see _CODES


def prove_film(params: HandbrakeParams, source: MediaInfo, made: MediaInfo) -> None:
    """Return if there is a picture of the film's length, or of the piece's that was asked for; sounds where chosen."""
    faults: list[str] = []
    if source.video is not None and made.video is None:
        faults.append("it has no picture")
    if params.audio_tracks and len(made.audio) != len(params.audio_tracks):
        faults.append(f"it has {len(made.audio)} sounds instead of {len(params.audio_tracks)}")
    piece = piece_of(params.source_options, source)
    expected = Expected(at_least=piece[1], at_most=piece[1]) if piece else Expected()
    check(made, expected, params.output_file, also=faults)
