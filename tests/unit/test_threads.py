from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from worker.adapters.threads import Stop, in_thread
from worker.core.errors import Interrupted


async def test_the_result_and_the_error_of_a_thread_come_back():
    def fail(_stop: Stop) -> None:
        raise ValueError("as it was raised")

    assert await in_thread(lambda _: threading.current_thread() is threading.main_thread()) is False
    with pytest.raises(ValueError, match="as it was raised"):
        await in_thread(fail)


async def test_a_cancelled_wait_ends_only_after_its_thread():
    began, ended = threading.Event(), threading.Event()

    def work(stop: Stop) -> None:
        halted = threading.Event()
        stop.then(halted.set)
        began.set()
        assert halted.wait(10)
        try:
            stop.check()
        except Interrupted:
            ended.set()
            raise

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_a_reaction_that_comes_late_is_called_at_once():
    stop, called = Stop(), []
    stop.check()
    stop.then(lambda: called.append("early"))
    stop.set()
    stop.then(lambda: called.append("late"))
    assert called == ["early", "late"]
    with pytest.raises(Interrupted):
        stop.check()


HANGING = """
import asyncio, threading
from worker.adapters.threads import Abandoning
from worker.cli import leave

async def main():
    asyncio.get_running_loop().set_default_executor(Abandoning(max_workers=2))
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    await asyncio.sleep(0.1)

asyncio.run(main())
print("flushed", end="")
leave(3)
"""


def test_a_call_that_hangs_for_ever_does_not_hold_the_process():
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, "flushed")
