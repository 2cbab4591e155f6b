"""A third party's module for the tests of the command line: `echo`, and `shine`, which only NVENC serves."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from worker import Task, TaskContext


class EchoParams(BaseModel):
    """What is said."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description="The words.")
    times: int = Field(1, ge=1, le=10)


class EchoTask(Task[EchoParams]):
    """Says nothing, but could."""

    module: ClassVar[str] = "echo"
    params: ClassVar[type[BaseModel]] = EchoParams

    async def run(self, params: EchoParams, context: TaskContext) -> None:
        """Note the words."""
        context.note("words", params.text * params.times)


class ShineTask(EchoTask):
    """The same, for another lane."""

    module: ClassVar[str] = "shine"

    def requires(self, params: EchoParams) -> frozenset[str]:
        """Return NVENC."""
        del params
        return frozenset({"encoder:h264_nvenc"})
