"""The fleet at a glance: what waits in the queues, the workers, and the jobs at which something happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.core.listing import JobFilter
from worker.core.record import serving
from worker.core.routing import DEAD_QUEUE, LANES, PRIORITIES, queue_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.control.resources import Control
    from worker.core.ports import BrokerAdmin
    from worker.core.record import JobRecord, WorkerRecord

MAX_SHOWN: Final = 200
SHOWN_STATES: Final = ("running", "publishing", "waiting", "retrying", "queued", "dead", "completed", "cancelled")
"""The states, in the order in which the fleet shows their jobs: the active ones first."""


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """The database and the broker at one moment.

    `waiting` is by queue, empty while the broker is away; `counts` is by state; `problems` are shown first.
    """

    waiting: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    workers: Sequence[WorkerRecord] = ()
    jobs: Sequence[JobRecord] = ()
    problems: Sequence[str] = ()


async def fleet_rows(control: Control, most: int = MAX_SHOWN) -> FleetSnapshot:
    """Return what the database shows now, at most so many jobs of each state."""
    stores = control.stores
    counts = await stores.counts()
    jobs = [
        job for state in SHOWN_STATES if counts.get(state) for job in (await stores.page(JobFilter(state), most)).jobs
    ]
    return FleetSnapshot(counts=counts, workers=await stores.workers(control.offline_seconds), jobs=jobs)


def problems_of(workers: Sequence[WorkerRecord]) -> list[str]:
    """Return a line for each living worker that reports a problem."""
    return [f"{one.worker_id}: {one.problem}" for one in workers if one.problem and one.status != "offline"]


async def queue_depths(broker: BrokerAdmin) -> dict[str, int]:
    """Return how many messages wait in each job queue and among the dead letters."""
    names = [queue_of(lane, priority) for lane in LANES for priority in PRIORITIES]
    return {name: await broker.count(name) for name in (*names, DEAD_QUEUE)}


async def unserved_lanes(control: Control, workers: Sequence[WorkerRecord]) -> dict[str, int]:
    """Return how many jobs wait in each lane that no living worker serves."""
    served = serving(workers)
    return {lane: count for lane, count in (await control.stores.waiting_by_lane()).items() if lane not in served}
