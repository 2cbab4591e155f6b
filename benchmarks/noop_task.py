"""The no-op job as a module of ours: it appends `started sent` to the file STAMPS, after `seconds`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import ClassVar

from worker import Model, Task, TaskContext


class NoopParams(Model):
    """When the job was sent, and how long it lasts."""

    sent: float
    seconds: float = 0.0


class NoopTask(Task[NoopParams]):
    """Does nothing, and notes when."""

    module: ClassVar[str] = "noop"
    params = NoopParams

    async def run(self, params: NoopParams, context: TaskContext) -> None:
        """Note the time."""
        del context
        started = time.time()
        if params.seconds:
            await asyncio.sleep(params.seconds)
        descriptor = os.open(os.environ["STAMPS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{started} {params.sent}\n".encode())
        os.close(descriptor)
