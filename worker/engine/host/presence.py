"""The presence of this worker in the fleet, from its first beat to its last."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from worker.core.record import WorkerRecord
from worker.media.capabilities import Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.record import Hardware, Wanted
    from worker.engine.executor import Executor
    from worker.engine.host.worker import Worker


class WorkerPresence:
    """The worker's row in the fleet, and the way by which an operator's command reaches it.

    It exists before the worker does: a host that is still proving what it can do is in `startup`, and an
    operator's command of that time holds as soon as the worker begins.
    """

    def __init__(
        self,
        worker_id: str,
        hostname: str,
        version: str,
        measure: Callable[[], Hardware],
        blocked: Callable[[], str] = str,
    ) -> None:
        """Show this worker; `measure` looks at the host, `blocked` says why the broker takes no messages."""
        self._worker_id = worker_id
        self._hostname = hostname
        self._version = version
        self._measure = measure
        self._blocked = blocked
        # A thread of its own: uploads and downloads may fill the common ones for minutes, and a beat waits for none.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="measure")
        self._worker: Worker | None = None
        self._executor: Executor | None = None
        self._command: Wanted = "run"
        self._namesake: str | None = None
        self.lanes: tuple[str, ...] = ()
        self.capabilities = Capabilities()

    def open(self, worker: Worker, executor: Executor) -> None:
        """Show this worker from now on, and apply the last command."""
        self._worker, self._executor = worker, executor
        worker.apply_command(self._command)

    def apply_command(self, command: Wanted) -> None:
        """Pass an operator's command on to the worker, now or when it begins."""
        self._command = command
        if self._worker is not None:
            self._worker.apply_command(command)

    def note_namesake(self, other: str | None) -> None:
        """Note which other worker has this name, None when none has it any more."""
        self._namesake = other

    async def describe(self) -> WorkerRecord:
        """Return the record as of now; `seen_at` is the database's."""
        worker, job = self._worker, self._executor.job if self._executor else None
        hardware = await asyncio.get_running_loop().run_in_executor(self._thread, self._measure)
        return WorkerRecord(
            worker_id=self._worker_id,
            hostname=self._hostname,
            pid=os.getpid(),
            version=self._version,
            status=worker.status if worker else "startup",
            job_id=job.job_id if job else None,
            job_title=job.title if job else None,
            lanes=list(self.lanes),
            capabilities=self.capabilities.document() if self.capabilities.proved else {},
            hardware=hardware,
            problem=(worker.problem if worker else None) or self._broker_problem() or self._name_problem(),
        )

    def _broker_problem(self) -> str | None:
        """Return that jobs end here but nothing is published, None while it is."""
        reason = self._blocked()
        return f"the broker takes no messages ({reason}): retries and dead letters wait" if reason else None

    def _name_problem(self) -> str | None:
        """Return that another worker reports under this name, None while none does."""
        if self._namesake is None:
            return None
        return f"another worker has this name ({self._namesake}): give each its own WORKER_ID"

    def close(self) -> None:
        """Let the thread go; nothing is described any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
