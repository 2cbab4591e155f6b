"""A message in the dead-letter queue as people look at it, and the port through which they publish and replay."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from worker.core.errors import InvalidJob
from worker.core.message.dialects import decode
from worker.core.message.wire import parse
from worker.core.routing import HEADER_DEATH, HEADER_FAILED_AT, LANES, PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from worker.core.attempt import StateChange
    from worker.core.routing import Exchange, Queue


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead message that we hold unacknowledged; `handle` names it to the publisher that holds it."""

    handle: int
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    routing_key: str = ""
    type: str | None = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the body, in hex."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def job_id(self) -> str | None:
        """Return the id that the body claims, a body that is no job included, else the message's id."""
        try:
            return decode(self.body, self.message_id).job_id or None
        except InvalidJob:
            return _claimed_id(self.body) or self.message_id

    @property
    def died_at(self) -> datetime | None:
        """Return when it died last, as the broker (in whole seconds) or the worker's header tells."""
        told = (entry.get("time") for entry in self._deaths)
        times = [time if time.tzinfo else time.replace(tzinfo=UTC) for time in told if isinstance(time, datetime)]
        if times:
            return max(times)
        try:
            return datetime.fromisoformat(str(self.headers.get(HEADER_FAILED_AT)))
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


class Broker(Protocol):
    """The broker in people's hands: one connection from `with` to its end.

    Every method raises BrokerUnavailable when the broker does not answer or does not confirm, and
    Misconfigured for wrong credentials and a topology that is not there.
    """

    def __enter__(self) -> Self:
        """Connect."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give every held message back to its queue and disconnect."""
        ...

    def publish_job(
        self,
        body: bytes,
        job_id: str | None,
        lane: str,
        priority: str,
        headers: Mapping[str, Any] | None = None,
        *,
        dialect: str = "",
    ) -> None:
        """Publish to `media.jobs`, persistent; return once the broker has it safely in a queue."""
        ...

    def tell(self, change: StateChange) -> None:
        """Publish `job.<state>` on `media.events`, for whoever listens."""
        ...

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Yield the messages of `media.dlq`, oldest first, each held until it is replayed, discarded or given back."""
        ...

    def replay(self, letter: DeadLetter, job_id: str | None, lane: str, priority: str) -> None:
        """Publish a held message again, without what earlier rounds wrote on it; then ack the dead one."""
        ...

    def discard(self, letter: DeadLetter) -> None:
        """Delete a held message for good."""
        ...

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in `queue`, those that somebody holds not counted."""
        ...

    def refusals(self, exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
        """Return what this user may not do of publishing to `exchanges` and reading dead letters."""
        ...

    def differences(self, queues: tuple[Queue, ...]) -> tuple[str, ...]:
        """Return one line for each of `queues` that is missing or has other arguments than these."""
        ...
