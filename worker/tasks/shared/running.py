"""Tools run for a task: failures become errors of ours, and exit 0 is not believed where the tool complained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.core.errors import BadInput, ToolFailed
from worker.media.failure import classify, damages, failed_stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.command import Exit, Pipeline
    from worker.core.task import TaskContext
    from worker.media.ffmpeg.progress import Meter
    from worker.media.verify import Damage


_MAX_NOTED: Final = 20
"""Complaints that the record holds."""


def progress_reporter(context: TaskContext, meter: Meter, share: float = 1.0) -> Callable[[str], None]:
    """Return what takes each line of ffmpeg's progress and reports it; `share` of the task is done at its end."""

    def on_line(line: str) -> None:
        if meter.line(line):
            fraction = None if meter.fraction is None else meter.fraction * share
            context.report(fraction, fps=meter.step.fps, speed=meter.step.speed)

    return on_line


async def run_checked(
    context: TaskContext,
    pipeline: Pipeline,
    subject: str,
    on_line: Callable[[str], None] | None = None,
    *,
    reads_source: bool = False,
    damage: Damage = "refuse",
) -> Exit:
    """Return how the last stage ended, all stages being well; else raise what the failed one's words mean.

    Where it `reads_source`, complaints of damage are the source's fault: BadInput, and at exit 0 too, unless `damage`
    is accepted.
    """
    exits = await context.run(pipeline, on_line)
    if (bad := failed_stage(exits)) is not None:
        error = classify(bad, subject)
        if reads_source and isinstance(error, (ToolFailed, BadInput)) and bad.signal is None:
            # ffmpeg 7 reports invalid data where 5.1 prints nothing
            refuse_damage(bad.complaint, subject, context)
        raise error
    if reads_source:
        refuse_damage(exits[-1].complaint, subject, context, damage)
    return exits[-1]


def refuse_damage(complaint: str, subject: str, context: TaskContext, damage: Damage = "refuse") -> None:
    """Return if a tool reports no damage of its source, or the job accepts it; else BadInput with the first.

    Accepted damage becomes a warning, and a fact of the record with every line that the tool's last words hold.
    """
    found = damages(complaint)
    if not found:
        return
    if damage == "refuse":
        raise BadInput(f'{subject} is damaged or cut short: {found[0]}; "damage": "accept" takes it as it is')
    context.warn(f"{subject} is damaged: {found[0]}{f', and {len(found) - 1} more' if len(found) > 1 else ''}")
    context.note("damage", {"source": subject, "complaints": list(found[:_MAX_NOTED]), "count": len(found)})
