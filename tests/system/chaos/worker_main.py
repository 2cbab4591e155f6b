"""A worker that dies where it is told: `worker_main.py TRAP`; the file TRAP names the step that is its last."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from worker import app
from worker.core.errors import LeveretError
from worker.settings import load


def die_if_trapped(trap: Path, step: str) -> None:
    """Kill this process if the trap names the step."""
    if trap.is_file() and trap.read_text() == step:
        trap.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


async def main(trap: Path) -> None:
    """Be a worker; at the step that the trap names, be gone, as if the power had been cut."""

    async def on_step(step: str) -> None:
        die_if_trapped(trap, step)

    await app.run_worker(load(), on_step=on_step)


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except LeveretError as error:
        # As the command does: one line, and its supervisor starts it again.
        sys.exit(str(error))
