"""Dead letters joined with what the database knows of them: list and show. Looking never loses one."""

from __future__ import annotations

import heapq
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import Conflict, NotFound
from worker.core.errors import InvalidJob
from worker.core.message.dialects import decode
from worker.core.redaction import HIDDEN, redact
from worker.core.routing import (
    DEAD_QUEUE,
    DEFAULT_LANE,
    DEFAULT_PRIORITY,
    HEADER_ERROR_TYPE,
    HEADER_LAST_ERROR,
)
from worker.core.views import DeadSummary, DeadWhole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.control.resources import Control
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
        return await find_dead(broker, index, name)


async def find_dead(broker: BrokerAdmin, index: DeadLetterIndex, name: str | None) -> DeadMessage:
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
