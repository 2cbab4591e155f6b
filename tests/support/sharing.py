"""A job in parts that takes milliseconds: texts in place of pictures, and a file that the plan shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from worker.core.job import Model
from worker.core.parts import Division, Fleet, Part, Plan, Whole, part_key
from worker.core.task import Files, FileUse, Task, TaskContext

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMMON = "what all parts need"


class SharingParams(Model):
    name: str = "out.txt"


class SharingTask(Task[SharingParams]):
    """Three ranges that each say what they found of the shared file, and that file."""

    module: ClassVar[str] = "sharing"
    params = SharingParams

    def files(self, params: SharingParams) -> Files:
        return Files(writes=(FileUse("name", params.name),))

    async def run(self, params: SharingParams, context: TaskContext) -> None:
        context.output(params.name).write_text("whole")

    def division(self, params: SharingParams) -> Division:
        del params
        return "auto"

    async def plan(self, params: SharingParams, task: int, fleet: Fleet, context: TaskContext) -> Plan | Whole:
        del params, fleet
        parts = [Part(n, part_key("one", "frames", n, n + 1), n, n + 1, suffix=".txt") for n in range(3)]
        common = Part(3, part_key("one", "common"), name="common", suffix=".log", shared=True)
        path = context.scratch("common.log")
        path.write_text(COMMON)
        context.share(common.file, path)
        return Plan(task, 3, "one", "", (*parts, common))

    async def holds(self, params: SharingParams, plan: Plan, context: TaskContext) -> bool:
        del params, plan, context
        return True

    async def run_part(self, params: SharingParams, plan: Plan, part: Part, context: TaskContext) -> None:
        del params
        if part.shared:
            context.output(part.file, role="part").write_text(f"{COMMON}, again")
            return
        (common,) = plan.named("common")
        found = context.shared(common.file)
        context.output(part.file, role="part").write_text(found.read_text() if found else "nothing")

    async def join(self, params: SharingParams, plan: Plan, parts: Mapping[int, Path], context: TaskContext) -> None:
        texts = [parts[part.index].read_text() for part in plan.parts]
        context.output(params.name).write_text("\n".join(texts))


JOB: dict[str, Any] = {"job_id": "film", "job_title": "A", "tasks": [{"module": "sharing", "data": {}}]}
