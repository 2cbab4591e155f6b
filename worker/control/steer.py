"""Steering the workers: pause, resume, drain, forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.control.errors import Conflict, NotFound
from worker.core.hints import nearest

if TYPE_CHECKING:
    from worker.control.resources import Control
    from worker.core.record import Wanted, WorkerRecord


async def list_workers(control: Control) -> list[WorkerRecord]:
    """Return the workers by name; those that were silent for three heartbeats are `offline`."""
    return await control.stores.workers(control.offline_seconds)


async def steer_worker(control: Control, worker_id: str, wanted: Wanted) -> list[str]:
    """Ask one worker to run, pause or drain, and return its id; NotFound for a name that no worker has."""
    asked = await control.stores.steer(worker_id, wanted)
    if not asked:
        await _refuse_unknown(control, worker_id)
    return asked


async def steer_fleet(control: Control, wanted: Wanted) -> list[str]:
    """Ask every worker that is not offline to run, pause or drain; return the ids asked."""
    return await control.stores.steer(None, wanted, control.offline_seconds)


async def forget_worker(control: Control, worker_id: str) -> list[str]:
    """Delete what is known of an offline worker; Conflict for one that lives, NotFound for one that is not known."""
    forgotten = await control.stores.forget_workers([worker_id], control.offline_seconds)
    if not forgotten:
        if worker_id in {worker.worker_id for worker in await list_workers(control)}:
            raise Conflict(f"the worker {worker_id} is not offline: `leveret drain {worker_id}` ends it")
        await _refuse_unknown(control, worker_id)
    return forgotten


async def forget_silent_workers(control: Control, seconds: float) -> list[str]:
    """Delete what is known of the workers that were silent for so long, three heartbeats at least; return their ids."""
    known = [worker.worker_id for worker in await list_workers(control) if worker.status == "offline"]
    return await control.stores.forget_workers(known, max(seconds, control.offline_seconds))


async def _refuse_unknown(control: Control, worker_id: str) -> None:
    known = [worker.worker_id for worker in await list_workers(control)]
    raise NotFound(f"there is no worker {worker_id!r}{nearest(worker_id, known)}")
