"""A message in the dead-letter queue as people look at it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.core.errors import InvalidJob
from worker.core.message.dialects import decode
from worker.core.message.wire import MAX_BODY_BYTES, parse
from worker.core.routing import HEADER_DEATH, HEADER_FAILED_AT, LANES, PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that we hold unacknowledged; `handle` names it to the connection that holds it.

    `behind` are the messages that its queue still had when the broker gave it.

    A body that is too large to be a job is cut, or a hundred of them would fill the memory of whoever looks at them;
    `whole` is then the SHA-256 and the bytes of all of it.
    """

    handle: int
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    routing_key: str = ""
    type: str | None = None
    whole: tuple[str, int] | None = None
    behind: int = 0

    @classmethod
    def held(cls, handle: int, body: bytes, **said: Any) -> DeadLetter:
        """Return the letter of a message, whatever its size."""
        if len(body) <= MAX_BODY_BYTES:
            return cls(handle, body, **said)
        # One byte more than a job may have: it is refused as the whole is.
        return cls(handle, body[: MAX_BODY_BYTES + 1], whole=(hashlib.sha256(body).hexdigest(), len(body)), **said)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the body, in hex."""
        return self.whole[0] if self.whole else hashlib.sha256(self.body).hexdigest()

    @property
    def size(self) -> int:
        """Return how many bytes the body has."""
        return self.whole[1] if self.whole else len(self.body)

    @property
    def job_id(self) -> str | None:
        """Return the id that the body claims, a body that is no job included, else the message's id."""
        try:
            return decode(self.body, self.message_id).job_id or None
        except InvalidJob:
            return _claimed_id(self.body) or self.message_id

    @property
    def died_at(self) -> datetime | None:
        """Return when it died last, as the broker (in whole seconds) or the worker's header says."""
        times = [time for entry in self._deaths if isinstance(time := entry.get("time"), datetime)]
        if times:
            return max(map(_aware, times))
        try:
            return _aware(datetime.fromisoformat(str(self.headers.get(HEADER_FAILED_AT))))
        except ValueError:
            return None

    @property
    def death(self) -> str:
        """Return the broker's word for the last death: `rejected`, `delivery_limit`, …, or nothing."""
        return str(self._deaths[0].get("reason", "")) if self._deaths else ""

    @property
    def route(self) -> tuple[str, str] | None:
        """Return (lane, priority) where the routing key names a queue of ours."""
        lane, _, priority = self.routing_key.partition(".")
        return (lane, priority) if lane in LANES and priority in PRIORITIES else None

    @property
    def _deaths(self) -> list[Mapping[str, Any]]:
        deaths = self.headers.get(HEADER_DEATH)
        return [entry for entry in deaths if isinstance(entry, dict)] if isinstance(deaths, list) else []


def _aware(time: datetime) -> datetime:
    """Return a time that can be compared with others: a publisher's may have no zone."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _claimed_id(body: bytes) -> str | None:
    try:
        value = parse(body)
    except InvalidJob:
        return None
    if isinstance(value, dict) and isinstance(value.get("assigned_job"), dict):
        value = value["assigned_job"]
    if not isinstance(value, dict):
        return None
    found = next((value[key] for key in ("job_id", "videoId", "video_id") if isinstance(value.get(key), str)), None)
    return found or None
