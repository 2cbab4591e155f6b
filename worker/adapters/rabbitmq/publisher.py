"""The broker as operators use it: jobs and events published, dead letters read, replayed and discarded.

`worker.adapters.rabbitmq.admin` runs it in a thread.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pika
import structlog
from pika.exceptions import ConnectionClosedByBroker

from worker.adapters.rabbitmq.amqp10 import Refused
from worker.adapters.rabbitmq.checked import CheckedBroker
from worker.adapters.rabbitmq.frames import INTERNAL_ERROR
from worker.adapters.rabbitmq.rescue import MAX_LOOKED_AT, Suspect, rescue
from worker.core.errors import BrokerUnavailable
from worker.core.message.copies import allowed_headers
from worker.core.message.dead_letter import DeadLetter
from worker.core.routing import (
    COUNT_HEADERS,
    DEAD_QUEUE,
    EVENTS,
    HEADER_FIRST_QUEUED_AT,
    HEADER_LANE,
    JOBS,
    routing_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.adapters.rabbitmq.rescue import Foreign
    from worker.core.attempt import StateChange

log = structlog.get_logger(__name__)

WITH_AMQP_10: Final = (4,)
"""The version from which every broker speaks AMQP 1.0, and stores such messages as they are."""


class Publisher(CheckedBroker):
    """A connection over which jobs are published, and dead letters are held until something is done with them."""

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
        now = datetime.now(UTC)
        all_headers = {HEADER_FIRST_QUEUED_AT: now.isoformat(timespec="milliseconds")} | dict(headers or {})
        properties = pika.BasicProperties(  # type: ignore[no-untyped-call]  # pika leaves it without annotations
            content_type="application/json",
            delivery_mode=pika.DeliveryMode.Persistent.value,
            message_id=job_id,
            type=dialect or None,
            timestamp=int(time.time()),
            headers=all_headers | {HEADER_LANE: lane},
        )
        with self._errors():
            self._open.basic_publish(JOBS, routing_key(lane, priority), body, properties, mandatory=True)

    def publish_event(self, change: StateChange) -> None:
        """Publish `job.<state>` on `media.events`, for whoever listens: what a person's command brought about."""
        event = {"at": datetime.now(UTC).isoformat(timespec="milliseconds")} | asdict(change)
        properties = pika.BasicProperties(content_type="application/json")  # type: ignore[no-untyped-call]  # as above
        with self._errors():
            self._open.basic_publish(EVENTS, f"job.{change.state}", json.dumps(event).encode(), properties)

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Yield the messages of `media.dlq`, oldest first, each held until it is replayed, discarded or given back."""
        return self.held(DEAD_QUEUE)

    def held(self, queue: str) -> Iterator[DeadLetter]:
        """Yield the messages of `queue` in the same way.

        It ends after as many as there were at first: a message that comes while we look is for the next look. The
        first one says how many: a queue that is asked for its count may not yet have back what was given back before.
        """
        letter = self.hold(queue)
        left = letter.behind if letter else 0
        while letter is not None:
            yield letter
            letter = self.hold(queue) if left else None
            left -= 1

    def hold(self, queue: str) -> DeadLetter | None:
        """Return the next message of `queue`, held; None when there is none."""
        with self._errors(), self._rescuing(queue):
            method, properties, body = self._open.basic_get(queue, auto_ack=False)
        if method is None or properties is None:
            return None
        self._held[method.delivery_tag] = queue
        return DeadLetter.held(
            method.delivery_tag,
            body or b"",
            headers=dict(properties.headers or {}),
            message_id=_text(properties.message_id),
            routing_key=_text(method.routing_key) or "",
            type=_text(properties.type),
            behind=method.message_count,
        )

    def replay(
        self, letter: DeadLetter, job_id: str | None, lane: str, priority: str, body: bytes | None = None
    ) -> None:
        """Publish a held message again, without what earlier rounds wrote on it; then ack the dead one."""
        kept = {name: value for name, value in allowed_headers(letter.headers).items() if name not in COUNT_HEADERS}
        dialect = (letter.type or "") if body is None else ""
        self.publish_job(letter.body if body is None else body, job_id, lane, priority, kept, dialect=dialect)
        self.discard(letter)

    def move(self, letter: DeadLetter, job_id: str, lane: str, priority: str) -> None:
        """Publish a held message to its job queue with the headers that a copy may carry; then ack the held one."""
        kept = allowed_headers(letter.headers)
        self.publish_job(letter.body, job_id, lane, priority, kept, dialect=letter.type or "")
        self.discard(letter)

    def discard(self, letter: DeadLetter) -> None:
        """Delete a held message for good."""
        with self._errors():
            self._open.basic_ack(letter.handle)
        self._held.pop(letter.handle, None)

    def count(self, queue: str) -> int:
        """Return how many messages wait in `queue`, those that somebody holds not counted."""
        with self._errors():
            return int(self._open.queue_declare(queue, passive=True).method.message_count)

    def rescue(self, queue: str, most: int, suspect: Suspect) -> int:
        """Replace what cannot be delivered among the first `most` messages of `queue`; return how many those were.

        None are where the broker is older than 4, or lets nobody in over AMQP 1.0.
        """
        connected = self._connection
        if connected is None or self.version < WITH_AMQP_10:
            return 0

        def publish(copy: Foreign) -> None:
            properties = pika.BasicProperties(  # type: ignore[no-untyped-call]  # pika leaves it without annotations
                delivery_mode=pika.DeliveryMode.Persistent.value, message_id=copy.message_id, headers=copy.headers
            )
            with self._errors():
                self._open.basic_publish("", queue, copy.body, properties, mandatory=True)

        try:
            # pika shows nowhere else which of several nodes it is connected to.
            return rescue(connected._impl.params, queue, most, suspect, publish)  # noqa: SLF001
        except (Refused, OSError) as error:
            log.warning("rescue_failed", queue=queue, error=str(error)[:200])
            return 0

    @contextlib.contextmanager
    def _rescuing(self, queue: str) -> Iterator[None]:
        """Make readable what the broker could not deliver and ended the connection for."""
        try:
            yield
        except ConnectionClosedByBroker as error:
            if error.reply_code != INTERNAL_ERROR:
                raise
            with Publisher(self._url) as other:
                # Those that we held came back in their order, before the one that could not be delivered.
                place = sum(name == queue for name in self._held.values())
                count = other.rescue(queue, place + MAX_LOOKED_AT, Suspect(place, certain=True))
            if not count:
                raise
            raise BrokerUnavailable(
                f"the broker could not deliver {count} messages of {queue}, which are repaired now: repeat the command"
            ) from error


def _text(value: str | bytes | None) -> str | None:
    """Return a short string of a message; pika leaves it as bytes where it is not UTF-8."""
    return (value.decode(errors="replace") if isinstance(value, bytes) else value) or None
