"""A worker that dies at a given step: `worker_main.py TRAP`; the first to reach the step that TRAP names is gone."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path

if "FAKETIME" in os.environ:
    # libfaketime 0.9.10 fails every nap while it leaves the monotonic clock alone: no retry of boto3's would pause.
    # Before our imports: it keeps the function that it finds.
    time.sleep = lambda seconds: threading.Event().wait(seconds)  # type: ignore[assignment, return-value]

from worker.app.worker import run_worker
from worker.cli import leave
from worker.core.errors import LeveretError
from worker.settings import load


def die_if_trapped(trap: Path, step: str) -> None:
    """Kill this process if the trap names the step, and no other worker was there before."""
    try:
        if trap.read_text() != step:
            return
        trap.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def show_tasks() -> None:
    """Say on standard error where every task waits: what a worker that does not end is asked for."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


async def main(trap: Path) -> None:
    """Be a worker; at the step that the trap names, be gone, as if the power had been cut."""

    async def on_step(step: str) -> None:
        die_if_trapped(trap, step)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, show_tasks)
    await run_worker(load(), on_step=on_step)


if __name__ == "__main__":
    # Threads are shown even when the loop is gone.
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except LeveretError as error:
        # As the command does: one line, and its supervisor starts it again.
        sys.stderr.write(f"{error}\n")
        leave(1)
    leave(0)
