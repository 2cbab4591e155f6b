"""The module `handbrake`: one run of HandBrakeCLI, which is then proved."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem, ToolFailed, VerificationFailed
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.failure import classify, failed
from worker.media.handbrake import HandbrakeMeter, HandbrakeParams, handbrake_command, option_name
from worker.media.ladder import film_seconds

if TYPE_CHECKING:
    from worker.core.command import Exit
    from worker.core.media_info import MediaInfo

SLACK_SECONDS: Final = 1.0
_WORDS: Final = ("ERROR: Invalid", "ERROR: Unsupported", "ERROR: unknown", "unknown option", "Unknown option")
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
        info = await context.probe(source)
        output = context.output(params.output_file)
        meter = HandbrakeMeter()

        def on_line(line: str) -> None:
            if meter.line(line):
                context.report(meter.fraction, fps=meter.fps)

        command = handbrake_command(params, context.tool("handbrake"), source, output)
        exits = await context.run(Pipeline((command,), label="handbrake"), on_line)
        if bad := failed(exits):
            raise _failure(bad, params)
        if not await asyncio.to_thread(output.exists):
            raise _failure(exits[-1], params)
        made = await context.probe(output)
        _prove(params, info, made)
        context.output(params.output_file, duration=made.duration)
        context.report(1.0)


def _failure(exit_: Exit, params: HandbrakeParams) -> Exception:
    """Return what HandBrake's end means; it exits 0 too when it refuses an option."""
    lines = [line.strip() for line in exit_.tail.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(_WORDS)), "")
    if said:
        return InvalidJob([Problem("", f"HandBrake refuses its options: {said}")])
    error = classify(exit_, params.source)
    if not isinstance(error, ToolFailed) or exit_.code is None:
        return error
    message = f"{params.source}: HandBrake {_CODES.get(exit_.code, 'made nothing')}: {exit_}"
    return BadInput(message) if exit_.code == 2 else ToolFailed(message)  # noqa: PLR2004  # no title, see _CODES


def _prove(params: HandbrakeParams, source: MediaInfo, made: MediaInfo) -> None:
    """Return if there is a picture of the film's length, unless a part of it was asked for; sounds where chosen."""
    faults: list[str] = []
    if source.video is not None and made.video is None:
        faults.append("it has no picture")
    if params.audio_tracks and len(made.audio) != len(params.audio_tracks):
        faults.append(f"it has {len(made.audio)} sounds instead of {len(params.audio_tracks)}")
    parts = {option_name(name) for name in params.source_options}
    seconds = film_seconds(source)
    if seconds is not None and not parts & {"chapters", "start-at", "stop-at", "title", "start-at-preview"}:
        length = made.duration or 0.0
        if abs(length - seconds) > SLACK_SECONDS + 0.005 * seconds:
            faults.append(f"it lasts {length:.2f} s instead of {seconds:.2f} s")
    if faults:
        raise VerificationFailed(f"{params.output_file} is not what was asked for: {'; '.join(faults)}")
