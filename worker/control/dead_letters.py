"""Dead letters joined with what the database knows of them: list, show, replay, purge. Looking never loses one."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import Conflict, NotFound, Refused
from worker.control.validate import judge
from worker.core.attempt import StateChange
from worker.core.errors import InvalidJob, Problem
from worker.core.job import ID_PATTERN
from worker.core.message.dialects import decode
from worker.core.redaction import HIDDEN, redact
from worker.core.routing import (
    DEAD_QUEUE,
    DEFAULT_LANE,
    DEFAULT_PRIORITY,
    HEADER_ERROR_TYPE,
    HEADER_LAST_ERROR,
    queue_of,
)
from worker.core.views import DeadSummary, DeadWhole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.control.resources import Control
    from worker.core.job import Job
    from worker.core.message.dead_letter import DeadLetter
    from worker.core.ports import BrokerAdmin, JobStore
    from worker.core.record import JobRecord, RefusalRecord

_ALL_REFUSALS: Final = 100_000
_DIGEST: Final = re.compile(r"[0-9a-f]{6,64}")
_SECRET_FIELD: Final = re.compile(r'("(?:token|password|secret)"\s*:\s*)"(?:[^"\\]|\\.)*"?')
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A dead letter and what is known of it: the job that it was (`record`), or why it never was one (`refusal`)."""

    letter: DeadLetter
    record: JobRecord | None
    refusal: RefusalRecord | None

    @property
    def error_type(self) -> str:
        """Return the class of the error that ended it."""
        source = self.refusal or self.record
        return (source.error_type if source else None) or str(self.letter.headers.get(HEADER_ERROR_TYPE, ""))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return every reason that is known, at least one."""
        if self.refusal:
            return tuple(self.refusal.problems) or (self.refusal.error,)
        if self.record and self.record.error:
            return (self.record.error,)
        if error := self.letter.headers.get(HEADER_LAST_ERROR):
            return (str(error),)
        return (f"the broker says {self.letter.death or 'nothing'}, and the database knows nothing of it yet",)

    @property
    def route(self) -> tuple[str, str]:
        """Return the real (lane, priority): the record's, else the routing key's, else the default."""
        if self.record:
            return self.record.lane, self.record.priority
        return self.letter.route or (DEFAULT_LANE, DEFAULT_PRIORITY)

    @property
    def name(self) -> str:
        """Return what people may call it by: its job's id, else the head of its digest."""
        return self.letter.job_id or self.letter.digest[:12]

    @property
    def text(self) -> str:
        """Return the body without secrets, decodable or not."""
        text = _SECRET_FIELD.sub(rf'\1"{HIDDEN}"', self.letter.body.decode(errors="backslashreplace"))
        try:
            return redact(text, decode(self.letter.body, self.letter.message_id).secrets)
        except InvalidJob:
            return redact(text)

    def summary(self) -> DeadSummary:
        """Return it as people and programs see it in a list."""
        return DeadSummary(**self._facts())

    def whole(self) -> DeadWhole:
        """Return it with its body and with those headers that are ours or the broker's."""
        ours = {key: value for key, value in self.letter.headers.items() if key.startswith("x-")}
        return DeadWhole(**self._facts(), headers=json.loads(json.dumps(ours, default=str)), body=self.text)

    def _facts(self) -> dict[str, Any]:
        lane, priority = self.route
        return {
            "job_id": self.letter.job_id,
            "message_id": self.letter.message_id,
            "sha256": self.letter.digest,
            "title": self.record.title if self.record else None,
            "kind": "refusal" if self.refusal else "job" if self.record else "unknown",
            "error_type": self.error_type,
            "reasons": list(self.reasons),
            "lane": lane,
            "priority": priority,
            "died_at": self.letter.died_at,
            "death": self.letter.death,
            "bytes": self.letter.size,
            "attempts": len(self.record.attempts) if self.record else None,
        }


@dataclass(frozen=True, slots=True)
class DeadList:
    """The newest dead messages, and how many there are."""

    messages: tuple[DeadMessage, ...]
    count: int


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


class DeadLetterIndex:
    """Joins dead letters with the database, reading the refusals once."""

    def __init__(self, jobs: JobStore, refusals: Iterable[RefusalRecord]) -> None:
        self._jobs = jobs
        self._refusals = {(refusal.body_sha256, refusal.message_id): refusal for refusal in refusals}

    @classmethod
    async def load(cls, jobs: JobStore) -> DeadLetterIndex:
        """Return the index over what the database knows."""
        return cls(jobs, await jobs.refusals(limit=_ALL_REFUSALS))

    async def message(self, letter: DeadLetter) -> DeadMessage:
        """Return the letter with what is known of it.

        A body that was refused and became a job when it was replayed is that job, if it died later; but a
        message that borrowed another job's id never is that job.
        """
        refusal = self._refusals.get((letter.digest, letter.message_id))
        record = await self._jobs.job(letter.job_id) if letter.job_id else None
        if refusal and record and refusal.error_type != "IdReused":
            is_later = record.state == "dead" and (record.finished_at or _LONG_AGO) > refusal.refused_at
            refusal = None if is_later else refusal
        return DeadMessage(letter, None if refusal else record, refusal)


async def list_dead(control: Control, limit: int = 100) -> DeadList:
    """Return the newest dead messages, newest first."""
    async with control.broker() as broker:
        count = await broker.count(DEAD_QUEUE)
        # Only the newest are kept: a body may be a megabyte.
        newest: list[tuple[float, int, DeadLetter]] = []
        async for letter in broker.dead_letters():
            (heapq.heappush if len(newest) < limit else heapq.heappushpop)(newest, (*_age(letter), letter))
    index = await DeadLetterIndex.load(control.stores)
    return DeadList(tuple([await index.message(letter) for *_, letter in sorted(newest, reverse=True)]), count)


def _age(letter: DeadLetter) -> tuple[float, int]:
    """Return what sorts letters by age: the broker says whole seconds, and the queue keeps its order."""
    return (letter.died_at.timestamp() if letter.died_at else 0.0), letter.handle


async def show_dead(control: Control, name: str | None) -> DeadMessage:
    """Return one dead message, without a name the newest; NotFound or Conflict when the name means none or several."""
    index = await DeadLetterIndex.load(control.stores)
    async with control.broker() as broker:
        return await _find(broker, index, name)


async def _find(broker: BrokerAdmin, index: DeadLetterIndex, name: str | None) -> DeadMessage:
    """Return the newest dead message that `name` means, or the newest of all, held by `broker`.

    `name` is a job's id, a message's id or the head of a body's SHA-256. Bodies that differ are not guessed among.
    """
    found: dict[str, DeadLetter] = {}
    async for letter in broker.dead_letters():
        if name is None:
            found = {"": _newer(found.get(""), letter)}
        elif _is_called(letter, name):
            found[letter.digest] = _newer(found.get(letter.digest), letter)
    if not found:
        raise NotFound(f"no dead message is called {name!r}: see `leveret dead list`" if name else "none is dead")
    if len(found) > 1:
        heads = ", ".join(sorted(digest[:12] for digest in found))
        raise Conflict(f"{len(found)} dead messages are called {name!r}; name one by its sha256: {heads}")
    return await index.message(next(iter(found.values())))


def _newer(known: DeadLetter | None, letter: DeadLetter) -> DeadLetter:
    if known is None or (letter.died_at or _LONG_AGO) >= (known.died_at or _LONG_AGO):
        return letter
    return known


def _is_called(letter: DeadLetter, name: str) -> bool:
    if name in {letter.message_id, letter.job_id}:
        return True
    return bool(_DIGEST.fullmatch(name.lower())) and letter.digest.startswith(name.lower())


async def replay_dead(control: Control, name: str, document: bytes | None = None) -> Republished:
    """Publish one dead message again, its job in a new round; `document` goes out in place of a wrong one."""
    index = await DeadLetterIndex.load(control.stores)
    async with control.broker() as broker:
        message = await _find(broker, index, name)
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
        message = await _find(broker, index, name)
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
