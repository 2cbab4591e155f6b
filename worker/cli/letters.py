"""Dead letters joined with what the database knows of them, and how a dead or lost job is published again."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from worker.cli.session import CommandRefused
from worker.core.attempt import StateChange
from worker.core.errors import InvalidJob
from worker.core.message.dialects import decode
from worker.core.redaction import HIDDEN, redact
from worker.core.routing import DEFAULT_LANE, DEFAULT_PRIORITY, HEADER_ERROR_TYPE, HEADER_LAST_ERROR, queue_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.core.message.dead_letter import Broker, DeadLetter
    from worker.core.ports import Repository
    from worker.core.record import JobRecord, RefusalRecord

_ALL_REFUSALS: Final = 100_000
_DIGEST: Final = re.compile(r"[0-9a-f]{6,64}")
_SECRET_FIELD: Final = re.compile(r'("(?:token|password|secret)"\s*:\s*)"(?:[^"\\]|\\.)*"?')
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A dead letter with its story: the job that it was (`record`), or why it never became one (`refusal`)."""

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
        if told := self.letter.headers.get(HEADER_LAST_ERROR):
            return (str(told),)
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

    def document(self) -> dict[str, Any]:
        """Return it as programs see it."""
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
            "died_at": self.letter.died_at.isoformat() if self.letter.died_at else None,
            "death": self.letter.death,
            "bytes": len(self.letter.body),
        }


class Stories:
    """Joins dead letters with the database, reading the refusals once."""

    def __init__(self, repository: Repository, refusals: Iterable[RefusalRecord]) -> None:
        self._repository = repository
        self._refusals = {(refusal.body_sha256, refusal.message_id): refusal for refusal in refusals}

    @classmethod
    async def load(cls, repository: Repository) -> Stories:
        """Return the stories that the database knows."""
        return cls(repository, await repository.refusals(limit=_ALL_REFUSALS))

    async def of(self, letter: DeadLetter) -> DeadMessage:
        """Return the letter with its story.

        A body that was refused and became a job when it was replayed is that job, if it died later; but a
        message that borrowed another job's id never is that job.
        """
        refusal = self._refusals.get((letter.digest, letter.message_id))
        record = await self._repository.job(letter.job_id) if letter.job_id else None
        if refusal and record and refusal.error_type != "IdReused":
            is_later = record.state == "dead" and (record.finished_at or _LONG_AGO) > refusal.refused_at
            refusal = None if is_later else refusal
        return DeadMessage(letter, None if refusal else record, refusal)


async def find(publisher: Broker, stories: Stories, name: str | None) -> DeadMessage:
    """Return the newest dead message that `name` means, or the newest of all; CommandRefused when there is none.

    `name` is a job's id, a message's id or the head of a body's SHA-256. Bodies that differ are not guessed among.
    """
    found: dict[str, DeadLetter] = {}
    for letter in publisher.dead_letters():
        if name is None:
            found = {"": _newer(found.get(""), letter)}
        elif _is_called(letter, name):
            found[letter.digest] = _newer(found.get(letter.digest), letter)
    if not found:
        raise CommandRefused(f"no dead message is called {name!r}: see `leveret dead list`" if name else "none is dead")
    if len(found) > 1:
        heads = ", ".join(sorted(digest[:12] for digest in found))
        raise CommandRefused(f"{len(found)} dead messages are called {name!r}; name one by its sha256: {heads}")
    return await stories.of(next(iter(found.values())))


def _newer(known: DeadLetter | None, letter: DeadLetter) -> DeadLetter:
    if known is None or (letter.died_at or _LONG_AGO) >= (known.died_at or _LONG_AGO):
        return letter
    return known


def _is_called(letter: DeadLetter, name: str) -> bool:
    if name in {letter.message_id, letter.job_id}:
        return True
    return bool(_DIGEST.fullmatch(name.lower())) and letter.digest.startswith(name.lower())


async def replay(repository: Repository, publisher: Broker, message: DeadMessage) -> str:
    """Return what was done: the row in a new round, then the message published again, then the dead one acked."""
    letter, record = message.letter, message.record
    lane, priority = message.route
    job_id = letter.job_id if message.refusal is None else letter.message_id
    if record is not None and job_id:
        if record.state in {"dead", "cancelled"}:
            record = await repository.reopen(job_id, letter.digest)
        elif record.state != "queued":
            raise CommandRefused(f"the job {job_id} is {record.state}; its dead message may be purged")
    publisher.replay(letter, job_id, lane, priority)
    if record is not None:
        publisher.tell(StateChange(record.job_id, record.title, "queued", round=record.round))
    told = f"in round {record.round}" if record else "as it came"
    return f"{message.name} is published again {told}, to {queue_of(lane, priority)}"


async def retry(repository: Repository, publisher: Broker, record: JobRecord) -> str:
    """Return what was done to run a dead, cancelled or lost job again; CommandRefused says why not."""
    if record.state not in {"dead", "cancelled", "queued"}:
        raise CommandRefused(_cannot_retry(record))
    stories = await Stories.load(repository)
    for letter in publisher.dead_letters():
        if letter.job_id == record.job_id and (message := await stories.of(letter)).refusal is None:
            return await replay(repository, publisher, message)
    return await _publish_stored(repository, publisher, record)


def _cannot_retry(record: JobRecord) -> str:
    if record.state == "completed":
        return f"the job {record.job_id} is completed; submit it again under another id"
    if record.state == "retrying":
        return f"the job {record.job_id} is tried again by itself; `leveret cancel {record.job_id}` ends that"
    return f"the job {record.job_id} is {record.state}; `leveret cancel {record.job_id}` stops it"


async def _publish_stored(repository: Repository, publisher: Broker, record: JobRecord) -> str:
    """Publish the job as the database keeps it: its message is nowhere to be found.

    A queued row whose queue is empty lost its message (a submit that was killed, a broker set up anew); the
    row is cancelled first, for only an ended job has a new round, and the stored document is another body.
    """
    job_id, queue = record.job_id, queue_of(record.lane, record.priority)
    if not record.document.get("tasks"):
        raise CommandRefused(f"the database keeps no message of {job_id}: submit it under another id")
    if record.state == "queued":
        if waiting := publisher.waiting(queue):
            raise CommandRefused(
                f"the job {job_id} is queued, and {waiting} messages wait in {queue}: it is likely among them; "
                f"if it is not, `leveret cancel {job_id}` and then `leveret retry {job_id}`"
            )
        await repository.request_cancel(job_id)
    body = json.dumps(record.document | {"job_id": job_id}, ensure_ascii=False).encode()
    reopened = await repository.reopen(job_id, hashlib.sha256(body).hexdigest())
    publisher.publish_job(body, job_id, record.lane, record.priority, dialect="canonical")
    publisher.tell(StateChange(job_id, record.title, "queued", round=reopened.round))
    return (
        f"{job_id} is published again in round {reopened.round}, to {queue}: from the database, which keeps no "
        "secrets (a token must be submitted anew)"
    )
