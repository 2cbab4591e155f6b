"""The topology, declared in a broker with pika."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

import pika
import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from worker.core.brokers import OTHER_DATABASE, broker_urls
from worker.core.errors import BrokerUnavailable, Misconfigured
from worker.core.routing import FLEET
from worker.core.topology import fleet_mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pika.adapters.blocking_connection import BlockingChannel

    from worker.core.topology import Queue, Topology

TIMEOUT_SECONDS: Final = 20.0
ABSENT: Final = "nothing"
LAST: Final = "media.provisioned"
"""Declared after all the others and deleted at once: see `write_through`."""

PRECONDITION_FAILED: Final = 406
_INEQUIVALENT: Final = re.compile(
    r"inequivalent arg '(?P<name>[^']+)'.*?received (?P<wanted>.+?) but current is (?P<found>.+?)\.?$"
)


def declare(broker_url: str, topology: Topology, management_url: str | None = None) -> str:
    """Return one line on what is declared now, through the first node of `broker_url` that answers.

    Declaring what is there already changes nothing.

    Raises Misconfigured with the difference where something has other arguments, and where the
    broker refuses the credentials; BrokerUnavailable where none answers.
    """
    address = ", ".join(_address(url) for url in broker_urls(broker_url))
    with _channel(broker_url, address) as channel:
        for exchange in topology.exchanges:
            with _refusals_explained(f"exchange {exchange.name}"):
                channel.exchange_declare(exchange.name, exchange.type, durable=True, arguments=dict(exchange.arguments))
        for queue in topology.queues:
            with _refusals_explained(f"queue {queue.name}", queue, broker_url, management_url):
                channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
        for binding in topology.bindings:
            channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
        write_through(channel)
    counts = f"{len(topology.exchanges)} exchanges, {len(topology.queues)} queues, {len(topology.bindings)} bindings"
    return f"broker {address}: {counts} are declared"


def mark(broker_url: str, identity: str) -> str:
    """Return one line on whose the broker is: the database's that has `identity`; Misconfigured when another's."""
    address = ", ".join(_address(url) for url in broker_urls(broker_url))
    with _channel(broker_url, address) as channel:
        try:
            channel.exchange_declare(FLEET, "fanout", durable=True, arguments=fleet_mark(identity))
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != PRECONDITION_FAILED:
                raise
            raise Misconfigured(f"the broker {address} {OTHER_DATABASE}") from error
    return f"broker {address}: it belongs to the database {identity[:8]}"


def write_through(channel: BlockingChannel) -> None:
    """Have the quorum queue that was declared last survive a SIGKILL of the broker.

    RabbitMQ 3.10.8 keeps what it must know of the newest one in a buffer for about a second: killed within it, the
    queue is up again without a leader, for good, and whoever asks it for a message waits. A newer one pushes it out.
    """
    channel.queue_declare(LAST, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_delete(LAST)


def difference(wanted: Mapping[str, object], found: Mapping[str, object]) -> str:
    """Return every argument that differs, as `name: wanted 20, there 5`; empty if none does."""
    names = sorted(wanted.keys() | found.keys())
    return "; ".join(
        f"{name}: wanted {wanted.get(name, ABSENT)}, there {found.get(name, ABSENT)}"
        for name in names
        if wanted.get(name, ABSENT) != found.get(name, ABSENT)
    )


def _address(broker_url: str) -> str:
    try:
        parts = urlsplit(broker_url)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    except ValueError as error:
        raise Misconfigured(f"WORKER_BROKER_URL is no URL: {error}") from error
    if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
        raise Misconfigured("WORKER_BROKER_URL must look like amqp://user:password@host:5672/")
    return f"{parts.hostname}:{port}"


@contextlib.contextmanager
def _channel(broker_url: str, address: str) -> Iterator[BlockingChannel]:
    nodes = tuple(pika.URLParameters(url) for url in broker_urls(broker_url))
    for parameters in nodes:
        parameters.socket_timeout = parameters.stack_timeout = TIMEOUT_SECONDS
        parameters.blocked_connection_timeout = TIMEOUT_SECONDS
    try:
        with pika.BlockingConnection(nodes) as connection:
            yield connection.channel()
    except pika.exceptions.ProbableAuthenticationError as error:
        raise Misconfigured(f"broker {address} refuses the user or the password of WORKER_BROKER_URL") from error
    except pika.exceptions.ProbableAccessDeniedError as error:
        raise Misconfigured(f"broker {address} refuses the virtual host of WORKER_BROKER_URL to this user") from error
    except pika.exceptions.ChannelClosedByBroker as error:
        raise Misconfigured(f"broker {address} refused: {error.reply_text}") from error
    # One that takes the connection and says nothing ends in pika's own kind of error, which is no AMQPError.
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError) as error:
        raise BrokerUnavailable(
            f"no broker answers at {address} ({_reason(error)}): start one with `python -m infra up`, "
            "or set WORKER_BROKER_URL"
        ) from error


@contextlib.contextmanager
def _refusals_explained(
    what: str, queue: Queue | None = None, broker_url: str = "", management_url: str | None = None
) -> Iterator[None]:
    """Turn the broker's refusal of other arguments into the difference."""
    try:
        yield
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != PRECONDITION_FAILED:
            raise
        difference = _asked(queue, broker_url, management_url) if queue and management_url else ""
        difference = difference or _parsed(error.reply_text)
        raise Misconfigured(
            f"{what} has other arguments ({difference}): empty it, delete it, and provision again"
        ) from error


def _parsed(reply: str) -> str:
    """Return the difference as the broker's text tells it: the first one only."""
    match = _INEQUIVALENT.search(" ".join(reply.split()))
    if match is None:
        return reply
    wanted, found = (
        ABSENT if text.startswith("none") else re.sub(r"^the value '(.*)' of type .*$|^'(.*)'$", r"\1\2", text)
        for text in (match["wanted"], match["found"])
    )
    return f"{match['name']}: wanted {wanted}, there {found}"


def _asked(queue: Queue, broker_url: str, management_url: str) -> str:
    """Return the whole difference, from the management API; empty if it does not answer."""
    virtual_host = unquote(urlsplit(broker_urls(broker_url)[0]).path[1:]) or "/"
    api = urlsplit(management_url)
    kind = http.client.HTTPSConnection if api.scheme == "https" else http.client.HTTPConnection
    client = kind(api.hostname or "", api.port, timeout=TIMEOUT_SECONDS)
    credentials = b64encode(f"{unquote(api.username or '')}:{unquote(api.password or '')}".encode()).decode()
    path = f"{api.path.rstrip('/')}/api/queues/{quote(virtual_host, safe='')}/{quote(queue.name, safe='')}"
    try:
        client.request("GET", path, headers={"Authorization": f"Basic {credentials}"})
        document = json.load(client.getresponse())
        return difference(queue.arguments, document["arguments"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ""
    finally:
        client.close()


def _reason(error: BaseException) -> str:
    """Return the innermost cause that says anything: pika wraps one workflow error in another."""
    seen: list[str] = []
    pending: list[object] = [error]
    while pending:
        current = pending.pop(0)
        if isinstance(current, OSError) and current.strerror:
            return current.strerror
        if isinstance(current, BaseException):
            seen.append(" ".join(str(current).split()) or type(current).__name__)
            pending += [*current.args, getattr(current, "exception", None), getattr(current, "exceptions", None)]
        elif isinstance(current, (list, tuple)):
            pending += current
    return seen[-1][:200]
