"""The methods that a task has beside `run` when several workers can do its job together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.parts import Division, Fleet, Part, Plan, Whole
    from worker.core.task import TaskContext


@runtime_checkable
class Divisible(Protocol):
    """A task that can be planned as parts, made part by part, and joined to what `run` would have made."""

    def division(self, params: Any) -> Division:
        """Return whether the data asks for parts."""
        ...

    async def plan(self, params: Any, task: int, fleet: Fleet, context: TaskContext) -> Plan | Whole:
        """Return the parts of the job's task number `task`, or why it is not divided.

        It reads the sources and writes nothing. The same sources, data, build and fleet give the same plan.
        """
        ...

    async def holds(self, params: Any, plan: Plan, context: TaskContext) -> bool:
        """Return whether the sources and the data are still those that a plan was made from."""
        ...

    async def run_part(self, params: Any, plan: Plan, part: Part, context: TaskContext) -> None:
        """Make exactly the one file `context.output(part.file)`, and prove it.

        PlanBroken when it cannot be made as it was planned: the sources have changed, or are not what was read of them.
        """
        ...

    async def join(self, params: Any, plan: Plan, parts: Mapping[int, Path], context: TaskContext) -> None:
        """Make what `run` would have made from the files of the parts, by index, and prove it.

        PlanBroken or VerificationFailed where the parts are no film together: the job is then made whole.
        """
        ...
