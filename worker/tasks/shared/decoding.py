"""The full decoding of what was made, or of a source, on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.errors import BadInput
from worker.media.failure import damage
from worker.media.ffmpeg.progress import Meter
from worker.media.verify import check_decoded, decode_command, first_fault_command

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext


async def require_undamaged(path: Path, name: str, context: TaskContext) -> None:
    """Return if a source decodes by itself; BadInput otherwise.

    For runs with `-xerror`: ffmpeg 5.1 to 8 then ends at a decoder's error without a word of its own, so that nothing
    tells it from an encoder's.
    """
    (exit_,) = await context.run(first_fault_command(context.tool("ffmpeg"), path))
    if exit_.code and exit_.signal is None:
        raise BadInput(f"{name} is damaged or cut short: {damage(exit_.complaint) or exit_}")


async def prove_by_decoding(
    path: Path, name: str, context: TaskContext, *, seconds: float | None = None, share: float = 0.0
) -> None:
    """Return when a file decodes to its end without a complaint; VerificationFailed with it otherwise.

    The last `share` of the task's progress is reported, where the file's `seconds` are known.
    """
    meter = Meter(seconds=seconds)

    def on_line(line: str) -> None:
        if share and meter.line(line) and meter.fraction is not None:
            done = 1.0 - share + meter.fraction * share
            context.report(done, fps=meter.step.fps, speed=meter.step.speed)

    (exit_,) = await context.run(decode_command(context.tool("ffmpeg"), path), on_line)
    check_decoded(exit_, name)
