"""Tools run for a task: failures become errors of ours, and exit 0 is not believed where the tool complained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.errors import BadInput, ToolFailed
from worker.media.failure import classify, damage, failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.command import Exit, Pipeline
    from worker.core.task import TaskContext


async def well_run(
    context: TaskContext,
    pipeline: Pipeline,
    subject: str,
    on_line: Callable[[str], None] | None = None,
    *,
    reads_source: bool = False,
) -> Exit:
    """Return how the last stage ended, all stages being well; else raise what the failed one's words mean.

    Where it `reads_source`, complaints of damage are the source's fault: BadInput, and at exit 0 too.
    """
    exits = await context.run(pipeline, on_line)
    if (bad := failed(exits)) is not None:
        error = classify(bad, subject)
        if reads_source and isinstance(error, ToolFailed) and bad.signal is None:
            undamaged(bad, subject)
        raise error
    if reads_source:
        undamaged(exits[-1], subject)
    return exits[-1]


def undamaged(exit_: Exit, subject: str) -> None:
    """Return if the tool read its source without a complaint; BadInput with the complaint otherwise."""
    if complaint := damage(exit_.complaint):
        raise BadInput(f"{subject} is damaged or cut short: {complaint}")
