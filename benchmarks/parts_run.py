"""Programs on one core, and the CPU seconds that they and this program have used."""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.process.runner import ProcessRunner

if TYPE_CHECKING:
    from worker.core.command import Exit, Pipeline


class Pinned(ProcessRunner):
    """Starts every program on one core."""

    core = 0

    async def run(self, pipeline: Pipeline, *arguments: Any, **options: Any) -> tuple[Exit, ...]:
        """Return how every stage ended."""
        stages = tuple(replace(one, argv=("taskset", "-c", str(self.core), *one.argv)) for one in pipeline.stages)
        return await super().run(replace(pipeline, stages=stages), *arguments, **options)


def spent() -> float:
    """Return the CPU seconds of this program and of all that it has started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
