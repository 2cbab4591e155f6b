"""Dead letters published again or deleted: one, or all."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.control.dead_letters import DeadLetterIndex, DeadMessage, find_dead
from worker.control.errors import Conflict, Refused
from worker.control.validate import judge
from worker.core.attempt import StateChange
from worker.core.errors import InvalidJob, Problem
from worker.core.job import ID_PATTERN
from worker.core.message.dialects import decode
from worker.core.routing import (
    queue_of,
)

if TYPE_CHECKING:
    from worker.control.resources import Control
    from worker.core.job import Job
    from worker.core.message.dead_letter import DeadLetter
    from worker.core.ports import BrokerAdmin
    from worker.core.record import JobRecord


@dataclass(frozen=True, slots=True)
class Republished:
    """A job whose message was published again: to which queue, and out of what.

    `name` is what people call it by; `round` is None for a message that never was a job. `source` is
    `dead letter`, `document` (one that took a dead letter's place), `delay queue` or `database`.
    """

    name: str
    job_id: str | None
    round: int | None
    queue: str
    source: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """The dead messages that `replay_all` published again, and why it left the others."""

    published: tuple[Republished, ...]
    refused: tuple[str, ...]


async def replay_dead(control: Control, name: str, document: bytes | None = None) -> Republished:
    """Publish one dead message again, its job in a new round; `document` goes out in place of a wrong one."""
    index = await DeadLetterIndex.load(control.stores)
    async with control.broker() as broker:
        message = await find_dead(broker, index, name)
        if document is None:
            return await replay_message(control, broker, message)
        return await _replace(control, broker, message, document)


async def replay_all(control: Control) -> Replayed:
    """Publish every dead message again; those that cannot be are left dead, each with its reason."""
    published: list[Republished] = []
    refused: list[str] = []
    index = await DeadLetterIndex.load(control.stores)
    async with control.broker() as broker:
        async for letter in broker.dead_letters():
            try:
                published.append(await replay_message(control, broker, await index.message(letter)))
            except (Refused, InvalidJob) as error:
                refused.append(str(error))
    return Replayed(tuple(published), tuple(refused))


async def replay_message(control: Control, broker: BrokerAdmin, message: DeadMessage) -> Republished:
    """Open a new round of the row, then publish the message that `broker` holds, then acknowledge the dead one."""
    letter, record = message.letter, message.record
    if letter.whole:
        raise Refused(f"the dead message {message.name} has {letter.size} bytes, too many for a job: purge it")
    lane, priority = message.route
    job_id = letter.job_id if message.refusal is None else letter.message_id
    if record is not None and job_id:
        _refuse_unless_ended(record)
        if record.state in {"dead", "cancelled"}:
            record = await control.stores.reopen(job_id, letter.digest, body=_outbox_body(letter.body, job_id))
    numbers = await control.stores.outbox_of(job_id) if record is not None and job_id else []
    await broker.replay(letter, job_id, lane, priority)
    await control.stores.published(numbers)
    if record is not None:
        await broker.publish_event(StateChange(record.job_id, record.title, "queued", round=record.round))
    return Republished(message.name, job_id, record.round if record else None, queue_of(lane, priority), "dead letter")


def _outbox_body(body: bytes, job_id: str) -> bytes | None:
    """Return what the outbox keeps until it is published: nothing of a job with a secret, which no row keeps."""
    try:
        return None if decode(body, job_id).secrets else body
    except InvalidJob:
        return None


def _refuse_unless_ended(record: JobRecord) -> None:
    if record.state not in {"dead", "cancelled", "queued"}:
        raise Conflict(f"the job {record.job_id} is {record.state}; its dead message may be purged")


async def _replace(control: Control, broker: BrokerAdmin, message: DeadMessage, body: bytes) -> Republished:
    """Publish `body` in place of a dead message: under the job's id, and the row keeps the new document."""
    letter, record = message.letter, message.record
    known = record.job_id if record else letter.message_id
    own = known if known and re.fullmatch(ID_PATTERN, known) else str(uuid.uuid4())
    job = decode(body, own)
    if record is not None and job.job_id != record.job_id:
        raise InvalidJob([Problem("job_id", f"the dead message is the job {record.job_id}: leave it out, or say that")])
    found = judge(job, control.modules())
    if found.problems:
        raise InvalidJob(found.problems)
    if record is not None:
        record = await _reopen_with(control, record, job, body, (found.lane, found.priority))
    numbers = await control.stores.outbox_of(job.job_id) if record is not None else []
    await broker.replay(letter, job.job_id, found.lane, found.priority, body)
    await control.stores.published(numbers)
    if record is not None:
        await broker.publish_event(StateChange(record.job_id, record.title, "queued", round=record.round))
    queue = queue_of(found.lane, found.priority)
    return Republished(message.name, job.job_id, record.round if record else None, queue, "document")


async def _reopen_with(control: Control, record: JobRecord, job: Job, body: bytes, route: tuple[str, str]) -> JobRecord:
    _refuse_unless_ended(record)
    if record.state == "queued":
        raise Conflict(f"the job {record.job_id} is queued; cancel it before its document is replaced")
    kept = _outbox_body(body, record.job_id)
    return await control.stores.reopen(record.job_id, hashlib.sha256(body).hexdigest(), job, route, kept)


async def purge_dead(control: Control, name: str) -> int:
    """Delete one dead message and what is recorded of its refusal; return how many were deleted."""
    index = await DeadLetterIndex.load(control.stores)
    async with control.broker() as broker:
        message = await find_dead(broker, index, name)
        await _purge(control, broker, message.letter)
    return 1


async def purge_all(control: Control) -> int:
    """Delete every dead message and what is recorded of refusals; return how many were deleted."""
    count = 0
    async with control.broker() as broker:
        async for letter in broker.dead_letters():
            await _purge(control, broker, letter)
            count += 1
    return count


async def _purge(control: Control, broker: BrokerAdmin, letter: DeadLetter) -> None:
    await broker.discard(letter)
    await control.stores.forget_refusals(letter.digest)
