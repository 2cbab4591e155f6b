"""Submitting a job: checked, inserted as a row, published with confirm."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.control.errors import Refused
from worker.control.fleet import problems_of
from worker.control.query import find_job
from worker.control.validate import judge
from worker.core.attempt import StateChange
from worker.core.errors import BrokerUnavailable, InvalidJob, Misconfigured
from worker.core.message.dialects import decode
from worker.core.record import serving

if TYPE_CHECKING:
    from worker.control.resources import Control
    from worker.core.job import Job
    from worker.core.ports import BrokerAdmin
    from worker.core.record import JobRecord


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job's record, and what its publisher should know: that nobody serves its lane."""

    record: JobRecord
    warnings: tuple[str, ...]


async def submit(
    control: Control,
    body: bytes,
    *,
    lane: str | None = None,
    priority: str | None = None,
    job_id: str | None = None,
    broker: BrokerAdmin | None = None,
) -> Submitted:
    """Return the job that was submitted; `lane` and `priority` go before the document's own.

    `job_id` is the id of a document that has none, a fresh one by default. `broker` is a connection that is open
    already: who submits many makes one for all. InvalidJob with every problem, IdReused
    when the id exists, Refused when the broker did not take it.
    """
    job = decode(body, job_id or str(uuid.uuid4()))
    found = judge(job, control.modules())
    if found.problems:
        raise InvalidJob(found.problems)
    route = (lane or found.lane, priority or found.priority)
    await _publish(control, job, body, route, broker)
    record, refused, unserved = await asyncio.gather(
        find_job(control, job.job_id), _refused_callback(control, job), _unserved_reasons(control, route[0])
    )
    return Submitted(record, (*refused, *unserved))


async def _refused_callback(control: Control, job: Job) -> list[str]:
    """Return that nobody will be called back, by the settings of this process and the addresses that it sees."""
    reason = await control.refused_receiver(job.callback_url) if job.callback_url else None
    if reason is None:
        return []
    return [f"callback_url is refused: {reason}; the job runs, but workers with these settings send no callback"]


async def _unserved_reasons(control: Control, lane: str) -> list[str]:
    """Return why nobody takes a job of a lane now: nobody serves it, or each of those who do has a problem."""
    workers = await control.stores.workers(control.offline_seconds)
    names = serving(workers).get(lane, ())
    if not names:
        return [f"no living worker serves the lane {lane}: the job waits until one does"]
    serve = [one for one in workers if one.worker_id in names]
    if any(not one.problem for one in serve):
        return []
    return [f"every worker of the lane {lane} has a problem: {line}" for line in problems_of(serve)]


async def _publish(
    control: Control, job: Job, body: bytes, route: tuple[str, str], connected: BrokerAdmin | None
) -> None:
    """Insert the row with its message, then publish; the broker is reached first, so that it seldom fails in between.

    Who is killed after the insert leaves the message to a worker's chores, unless it has a secret, which no row keeps.
    What was not confirmed is cancelled: should it be in a queue all the same, whoever gets it acks it unrun.
    """
    connect = control.publisher or control.broker
    async with connect() if connected is None else nullcontext(connected) as broker:
        await broker.require_fleet(await control.stores.identity())
        kept = None if job.secrets else body
        await control.stores.submit(job, hashlib.sha256(body).hexdigest(), *route, kept)
        numbers = await control.stores.outbox_of(job.job_id)
        try:
            await broker.publish_job(body, job.job_id, *route, dialect=job.dialect)
        except (BrokerUnavailable, Misconfigured) as error:
            await control.stores.request_cancel(job.job_id)
            await control.stores.published(numbers)
            raise Refused(
                f"{error}; the job is recorded as cancelled: `leveret retry {job.job_id}` publishes it"
            ) from error
        await control.stores.published(numbers)
        await broker.publish_event(StateChange(job.job_id, job.title, "queued"))
