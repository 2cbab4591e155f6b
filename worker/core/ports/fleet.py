"""The workers, and the commands to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.record import Wanted, WorkerRecord


class FleetStore(Protocol):
    """Heartbeats and what operators want of the workers."""

    async def beat(self, worker: WorkerRecord, instance: str = "") -> Wanted:
        """Store a heartbeat of the process `instance`; return what people want of the worker."""
        ...

    async def namesake(self, worker_id: str, instance: str, seconds: float) -> str | None:
        """Return the host and pid of another process than `instance` that reported under a name within `seconds`."""
        ...

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return the workers; those silent for `offline_after` seconds are `offline`."""
        ...

    async def steer(self, worker_id: str | None, wanted: Wanted, silent_seconds: float | None = None) -> list[str]:
        """Ask one worker, or all, to run, pause or drain; return the ids asked.

        Those that were silent for `silent_seconds` are left out of all.
        """
        ...

    async def forget_workers(self, worker_ids: Sequence[str], silent_seconds: float) -> list[str]:
        """Delete those of these workers that were silent for so long; return their ids."""
        ...
