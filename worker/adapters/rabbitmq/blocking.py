"""A blocking connection to the broker, as a command of a person needs one: over pika, for one command or some minutes.

Its limits are short: a broker that is frozen, blocked by an alarm or gone must cost a person seconds.
"""

from __future__ import annotations

import contextlib
import logging
import platform
from typing import TYPE_CHECKING, Any, Final, Self

import pika
from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException, AMQPConnectorStackTimeout
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ChannelError,
    ConnectionBlockedTimeout,
    NackError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from worker.adapters.rabbitmq.frames import take_frames
from worker.core.brokers import broker_urls
from worker.core.errors import BrokerUnavailable, LeveretError, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from pika.adapters.blocking_connection import BlockingChannel

SOCKET_SECONDS: Final = 5.0
OPEN_SECONDS: Final = 10.0
BLOCKED_SECONDS: Final = 10.0
HEARTBEAT_SECONDS: Final = 10
PROVISION: Final = "run `python -m infra provision`"


class BlockingBroker:
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

    def alive(self) -> bool:
        """Return whether connection and channel are open, after what the broker sent meanwhile, and our heartbeat."""
        if self._connection is None or self._channel is None:
            return False
        with self._errors():
            self._connection.process_data_events(0)
        return self._connection.is_open and self._channel.is_open

    @property
    def version(self) -> tuple[int, ...]:
        """Return the broker's version as it said when we connected, empty where it said none."""
        assert self._connection is not None  # noqa: S101 - only asked once connected
        # pika shows what the broker said of itself nowhere else.
        properties = self._connection._impl.server_properties or {}  # noqa: SLF001
        numbers = str(properties.get("version", "")).split(".")[:3]
        return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else ()

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
        # A broker that takes the connection and says nothing ends in pika's own kind of error, which is no AMQPError.
        except (AMQPError, AMQPConnectorException, ChannelError, OSError) as error:
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
                return Misconfigured(f"{at} has no queue for the message: {PROVISION}")
            case NackError():
                return BrokerUnavailable(f"{at} refused the message; check the lengths of its queues, and its alarms")
            case AMQPConnectorStackTimeout():
                return BrokerUnavailable(
                    f"{at} accepts connections but does not answer: is it frozen, or not a broker?"
                )
            case ConnectionBlockedTimeout():
                return BrokerUnavailable(f"{at} accepts no messages: it is short of memory or disk")
            case _:
                word = _word(error)
                return BrokerUnavailable(f"{at} does not answer{word}: does it run, and is WORKER_BROKER_URL correct?")


class _ReadableConnection(SelectConnection):
    """A connection that decodes what any publisher wrote into the messages that it gets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._received = bytearray()
        super().__init__(*args, **kwargs)

    def _on_data_available(self, data_in: bytes) -> None:
        # pika has no seam of its own between the socket and the decoder.
        self._received += data_in
        super()._on_data_available(take_frames(self._received))


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
