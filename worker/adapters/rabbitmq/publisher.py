"""The broker as operators use it, over pika's BlockingConnection: a connection lasts one command, or some minutes.

Its limits are short: a broker that is frozen, blocked by an alarm or gone must cost a person seconds.
`worker.adapters.rabbitmq.admin` runs it in a thread.
"""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import pika
import structlog
from pika.adapters.select_connection import SelectConnection
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ChannelError,
    ConnectionBlockedTimeout,
    ConnectionClosedByBroker,
    NackError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from worker.adapters.rabbitmq.amqp10 import Refused
from worker.adapters.rabbitmq.frames import INTERNAL_ERROR, take_frames
from worker.adapters.rabbitmq.rescue import MOST_LOOKED_AT, Suspect, rescue
from worker.core.brokers import OTHER_DATABASE, broker_urls
from worker.core.errors import BrokerUnavailable, LeveretError, Misconfigured
from worker.core.message.copies import allowed_headers
from worker.core.message.dead_letter import DeadLetter
from worker.core.routing import (
    COUNT_HEADERS,
    DEAD_QUEUE,
    EVENTS,
    FLEET,
    HEADER_FIRST_QUEUED_AT,
    HEADER_LANE,
    JOBS,
    fleet_mark,
    routing_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from pika.adapters.blocking_connection import BlockingChannel

    from worker.adapters.rabbitmq.rescue import Foreign
    from worker.core.attempt import StateChange
    from worker.core.routing import Exchange, Queue

log = structlog.get_logger(__name__)

SOCKET_SECONDS: Final = 5.0
OPEN_SECONDS: Final = 10.0
BLOCKED_SECONDS: Final = 10.0
HEARTBEAT_SECONDS: Final = 10
ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 406
WITH_AMQP_10: Final = (4,)
"""The version from which every broker speaks AMQP 1.0, and stores such messages as they are."""
PROVISION: Final = "run `python -m infra provision`"


class Publisher:
    """A blocking connection to the broker at `url` (amqp or amqps); of several the first that answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._held: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Connect and switch confirms on."""
        # pika tells each refused connection at ERROR, which Python prints where nobody configured logging.
        logging.getLogger("pika").addHandler(logging.NullHandler())
        nodes = tuple(self._parameters(url) for url in broker_urls(self._url))
        self._address = ", ".join(f"{node.host}:{node.port}" for node in nodes)
        self._user = getattr(nodes[0].credentials, "username", "")
        with self._errors():
            self._connection = pika.BlockingConnection(nodes, _ReadableConnection)  # type: ignore[arg-type]  # it takes the class
            self._channel = self._open_channel()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give every held message back and disconnect; a connection that is gone has done so by itself."""
        connection, channel = self._connection, self._channel
        self._connection = self._channel = None
        with contextlib.suppress(AMQPError, ChannelError, OSError):
            if connection is not None and connection.is_open:
                if channel is not None and channel.is_open and self._held:
                    # Tag 0 means all of them. From 4.3 a nack is not counted as a delivery, a lost connection is.
                    channel.basic_nack(0, multiple=True, requeue=True)
                connection.close()

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

        It ends after as many as there were at first: a message that comes while we look is for the next look.
        """
        for _ in range(self.count(queue)):
            letter = self.hold(queue)
            if letter is None:
                return
            yield letter

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
                count = other.rescue(queue, place + MOST_LOOKED_AT, Suspect(place, certain=True))
            if not count:
                raise
            raise BrokerUnavailable(
                f"the broker could not deliver {count} messages of {queue}, which are readable now: ask again"
            ) from error

    def discard(self, letter: DeadLetter) -> None:
        """Delete a held message for good."""
        with self._errors():
            self._open.basic_ack(letter.handle)
        self._held.pop(letter.handle, None)

    def count(self, queue: str) -> int:
        """Return how many messages wait in `queue`, those that somebody holds not counted."""
        with self._errors():
            return int(self._open.queue_declare(queue, passive=True).method.message_count)

    @property
    def version(self) -> tuple[int, ...]:
        """Return the broker's version as it said when we connected, empty where it said none."""
        assert self._connection is not None  # noqa: S101 - only asked once connected
        # pika shows what the broker said of itself nowhere else.
        properties = self._connection._impl.server_properties or {}  # noqa: SLF001
        numbers = str(properties.get("version", "")).split(".")[:3]
        return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else ()

    def differences(self, queues: tuple[Queue, ...]) -> tuple[str, ...]:
        """Return one line for each of `queues` that is missing or has other arguments than these.

        Asked passively first: the real declaration, which compares the arguments, would make a missing one.
        A refusal closes its channel, so each queue has one of its own.
        """
        return tuple(line for queue in queues if (line := self._difference(queue)))

    def refusals(self, exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
        """Return what this user may not do: publish to one of `exchanges`, read dead letters.

        Asked without changing anything: to take away a binding that there is not needs the right to write to one
        exchange and to read from the other. Job queues are not read from, for on 3.x each look counts against the
        delivery limit of a message.
        """
        asked: dict[str, Callable[[BlockingChannel], object]] = {
            f"publish to {one.name}": partial(_unbind, exchange=one.name) for one in exchanges
        }
        asked[f"read {DEAD_QUEUE}"] = _look
        return tuple(deed for deed, attempt in asked.items() if self._refused(attempt))

    def require_fleet(self, identity: str) -> None:
        """Return if the broker was provisioned for the database `identity`, or for none; Misconfigured otherwise."""
        for passive in (True, False):
            try:
                with self._errors():
                    channel = self._open_channel()
                try:
                    channel.exchange_declare(
                        FLEET, "fanout", passive=passive, durable=True, arguments=fleet_mark(identity)
                    )
                except ChannelClosedByBroker as error:
                    if error.reply_code == PRECONDITION_FAILED:
                        raise Misconfigured(f"the broker at {self._address} {OTHER_DATABASE}") from error
                    # It was marked for nobody, or this user may not ask.
                    return
            except (AMQPError, ChannelError, OSError) as error:
                raise self._translated(error) from error
            channel.close()

    def alive(self) -> bool:
        """Return whether connection and channel are open, after what the broker sent meanwhile, and our heartbeat."""
        if self._connection is None or self._channel is None:
            return False
        with self._errors():
            self._connection.process_data_events(0)
        return self._connection.is_open and self._channel.is_open

    def require_taking(self) -> None:
        """Return if the broker takes a message now: an event that nobody listens to."""
        with self._errors():
            self._open.basic_publish(EVENTS, "doctor.asked", b"{}")

    def _refused(self, attempt: Callable[[BlockingChannel], object]) -> bool:
        with self._errors():
            channel = self._open_channel()
            try:
                attempt(channel)
            except ChannelClosedByBroker as error:
                if error.reply_code == ACCESS_REFUSED:
                    return True
                raise
            channel.close()
        return False

    def _difference(self, queue: Queue) -> str:
        with self._errors():
            channel = self._open_channel()
            try:
                channel.queue_declare(queue.name, passive=True)
                channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
            except ChannelClosedByBroker as error:
                if error.reply_code == NOT_FOUND:
                    return f"the queue {queue.name} is missing"
                if error.reply_code == PRECONDITION_FAILED:
                    return f"the queue {queue.name} has other arguments: {error.reply_text}"
                raise
            channel.close()
        return ""

    @property
    def _open(self) -> BlockingChannel:
        if self._channel is None:
            raise BrokerUnavailable("the connection to the broker is closed")
        return self._channel

    def _open_channel(self) -> BlockingChannel:
        assert self._connection is not None  # noqa: S101 - only called once connected
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel

    def _parameters(self, url: str) -> pika.URLParameters:
        message = "WORKER_BROKER_URL is no amqp:// or amqps:// address"
        if not url.startswith(("amqp://", "amqps://")):
            raise Misconfigured(message)
        try:
            parameters = pika.URLParameters(url)
        except (ValueError, IndexError, TypeError) as error:
            raise Misconfigured(message) from error
        parameters.socket_timeout = SOCKET_SECONDS
        parameters.stack_timeout = OPEN_SECONDS
        parameters.blocked_connection_timeout = BLOCKED_SECONDS
        parameters.heartbeat = HEARTBEAT_SECONDS
        parameters.connection_attempts = 1
        parameters.client_properties = {"connection_name": f"leveret command on {platform.node()}"}
        return parameters

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn pika's errors into ours."""
        try:
            yield
        except (AMQPError, ChannelError, OSError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> LeveretError:
        at = f"the broker at {self._address}"
        match error:
            case AuthenticationError() | ProbableAuthenticationError():
                return Misconfigured(f"{at} refuses the user {self._user!r}: check WORKER_BROKER_URL")
            case ProbableAccessDeniedError():
                return Misconfigured(f"{at} refuses the user {self._user!r} its virtual host: check WORKER_BROKER_URL")
            case ChannelClosedByBroker(reply_code=404, reply_text=text):
                return Misconfigured(f"{at} says {text}: {PROVISION}")
            case UnroutableError():
                return Misconfigured(f"no queue of {at} takes the message: {PROVISION}")
            case NackError():
                return BrokerUnavailable(f"{at} refused the message; look at its queues' lengths and alarms")
            case ConnectionBlockedTimeout():
                return BrokerUnavailable(f"{at} takes nothing: it is short of memory or disk")
            case _:
                word = _word(error)
                return BrokerUnavailable(
                    f"{at} does not answer{word}: is it up, and is WORKER_BROKER_URL set and right?"
                )


class _ReadableConnection(SelectConnection):
    """A connection that decodes what any publisher wrote into the messages that it gets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._received = bytearray()
        super().__init__(*args, **kwargs)

    def _on_data_available(self, data_in: bytes) -> None:
        # pika has no seam of its own between the socket and the decoder.
        self._received += data_in
        super()._on_data_available(take_frames(self._received))


def _unbind(channel: BlockingChannel, exchange: str) -> None:
    channel.exchange_unbind(exchange, EVENTS, "doctor")


def _look(channel: BlockingChannel) -> None:
    method, _, _ = channel.basic_get(DEAD_QUEUE, auto_ack=False)
    if method is not None:
        channel.basic_nack(method.delivery_tag, requeue=True)


def _word(error: BaseException) -> str:
    """Return ` (Connection refused)`: the innermost reason, which pika wraps several times."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "exception", None) or (seen.args[0] if seen.args else None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
    return f" ({' '.join(text.split())[:200]})"


def _text(value: str | bytes | None) -> str | None:
    """Return a short string of a message; pika leaves it as bytes where it is not UTF-8."""
    return (value.decode(errors="replace") if isinstance(value, bytes) else value) or None
