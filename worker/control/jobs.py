"""Steering one job: cancel, retry."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.control.dead_letters import DeadLetterIndex
from worker.control.errors import Conflict
from worker.control.query import find_job
from worker.control.replay import Republished, replay_message
from worker.core.attempt import StateChange
from worker.core.errors import BrokerUnavailable, Misconfigured
from worker.core.routing import queue_of, retry_name

if TYPE_CHECKING:
    from worker.control.resources import Control
    from worker.core.message.dead_letter import DeadLetter
    from worker.core.ports import BrokerAdmin
    from worker.core.record import JobRecord

UNSEEN_HINT: Final = "`--unseen` cancels a message that no worker has seen yet"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The state after the request: `cancelled`, or `running`: its worker stops it within seconds."""

    job_id: str
    state: str


async def cancel_job(control: Control, name: str, *, unseen: bool = False) -> CancelRequest:
    """Ask for the cancellation of a job, at once while it waits; Conflict when it has ended or is being published.

    `unseen` cancels a message that no worker has seen yet: `name` is its whole id then.
    """
    known = await control.stores.job(name) if unseen else await find_job(control, name, UNSEEN_HINT)
    job_id = known.job_id if known else name
    if known is not None and known.state in {"completed", "dead"}:
        raise Conflict(f"the job {job_id} is {known.state} already")
    state = await control.stores.request_cancel(job_id)
    if state in {"completed", "dead"}:
        raise Conflict(f"the job {job_id} is {state} already")
    if state == "publishing":
        raise Conflict(f"the job {job_id} is being published: too late to cancel")
    if state == "cancelled" and (known is None or known.state != state):
        await _publish_cancelled(control, job_id, known.title if known else "")
    return CancelRequest(job_id, state)


async def _publish_cancelled(control: Control, job_id: str, title: str) -> None:
    """Publish the event that no worker will: the job ended while it waited. Without a broker nobody listens."""
    with suppress(BrokerUnavailable, Misconfigured):
        async with control.broker() as broker:
            await broker.publish_event(StateChange(job_id, title, "cancelled"))


async def retry_job(control: Control, name: str) -> Republished:
    """Run a dead, cancelled or lost job again in a new round, a retrying one at once; Conflict says why not."""
    record = await find_job(control, name)
    if (part := record.document.get("part")) and record.state in {"dead", "cancelled"}:
        # Nobody would take it: its job has ended too, and runs again as a whole.
        record = await find_job(control, part["job"])
    if record.state not in {"dead", "cancelled", "queued", "retrying"}:
        raise Conflict(_cannot_retry(record))
    async with control.broker() as broker:
        if record.state == "retrying":
            return await _run_now(control, broker, record)
        index = await DeadLetterIndex.load(control.stores)
        async for letter in broker.dead_letters():
            if letter.job_id == record.job_id and (message := await index.message(letter)).refusal is None:
                return await replay_message(control, broker, message)
        return await _publish_stored(control, broker, record)


def _cannot_retry(record: JobRecord) -> str:
    if record.state == "completed":
        return f"the job {record.job_id} is completed; submit it again under another id"
    return f"the job {record.job_id} is {record.state}; `leveret cancel {record.job_id}` stops it"


async def _run_now(control: Control, broker: BrokerAdmin, record: JobRecord) -> Republished:
    """Let the row be claimed at once, then move the waiting message from its delay queue to its job queue.

    A crash in between leaves the message where it was: it comes when its delay ends. A message that is not found,
    because it left its queue this very moment or waits under a delay that is not set here, is published as the
    database keeps it: whichever comes second finds the job claimed or ended.
    """
    if not await control.stores.run_now(record.job_id):
        raise Conflict(f"the job {record.job_id} is not retrying any more: it runs, or has ended")
    queue = queue_of(record.lane, record.priority)
    letter = await _delayed_message(control, broker, record)
    if letter is not None:
        await broker.move(letter, record.job_id, record.lane, record.priority)
        return Republished(record.job_id, record.job_id, record.round, queue, "delay queue")
    await broker.publish_job(_stored_body(record), record.job_id, record.lane, record.priority, dialect="canonical")
    return Republished(record.job_id, record.job_id, record.round, queue, "database")


async def _delayed_message(control: Control, broker: BrokerAdmin, record: JobRecord) -> DeadLetter | None:
    """Return the job's message out of a delay queue, the likeliest first: that of its last failure."""
    delays = list(dict.fromkeys(control.retry_delays))
    failures = sum(item.round == record.round and item.outcome in {"failed", "crashed"} for item in record.attempts)
    likeliest = delays[max(0, min(failures, len(delays)) - 1) :][:1]
    for delay in dict.fromkeys((*likeliest, *delays)):
        # A queue of a delay that no worker uses may not be there.
        with suppress(Misconfigured):
            async for letter in broker.held(retry_name(delay)):
                if letter.message_id == record.job_id:
                    return letter
    return None


async def _publish_stored(control: Control, broker: BrokerAdmin, record: JobRecord) -> Republished:
    """Publish the job as the database keeps it: its message is nowhere to be found.

    A queued row whose queue is empty lost its message (a submit that was killed, a broker set up anew); the
    row is cancelled first, for only an ended job has a new round, and the stored document is another body.
    """
    job_id, queue = record.job_id, queue_of(record.lane, record.priority)
    if not record.document.get("tasks"):
        raise Conflict(f"the database keeps no message of {job_id}: submit it under another id")
    if record.state == "queued":
        if waiting := await broker.count(queue):
            raise Conflict(
                f"the job {job_id} is queued, and {waiting} messages wait in {queue}: it is likely among them; "
                f"if it is not, `leveret cancel {job_id}` and then `leveret retry {job_id}`"
            )
        await control.stores.request_cancel(job_id)
    body = _stored_body(record)
    reopened = await control.stores.reopen(job_id, hashlib.sha256(body).hexdigest(), body=body)
    numbers = await control.stores.outbox_of(job_id)
    await broker.publish_job(body, job_id, record.lane, record.priority, dialect="canonical")
    await control.stores.published(numbers)
    await broker.publish_event(StateChange(job_id, record.title, "queued", round=reopened.round))
    return Republished(job_id, job_id, reopened.round, queue, "database")


def _stored_body(record: JobRecord) -> bytes:
    return json.dumps(record.document | {"job_id": record.job_id}, ensure_ascii=False).encode()
