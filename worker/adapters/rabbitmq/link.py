"""A connection to the broker that comes back by itself, with one channel."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from typing import TYPE_CHECKING, Final

import aio_pika
import structlog
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ChannelNotFoundEntity,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed, ConnectionNotAllowed
from yarl import URL

from worker.adapters.rabbitmq.transports import ReadableTransports
from worker.core.brokers import OTHER_DATABASE, broker_urls
from worker.core.errors import BrokerUnavailable, Misconfigured
from worker.core.routing import FLEET
from worker.core.topology import Topology, fleet_mark, topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aio_pika.abc import AbstractChannel, AbstractConnection, TimeoutType

LINK_ERRORS: Final = (*CONNECTION_EXCEPTIONS, asyncio.TimeoutError)
"""The errors that aio-pika raises when the broker, its connection or a channel is gone."""

_REFUSALS: Final = (AuthenticationError, ProbableAuthenticationError, ConnectionNotAllowed)

CONNECT_SECONDS: Final = 10.0
HEARTBEAT_SECONDS: Final = 20
LONGEST_PAUSE: Final = 15.0

_REPR: Final = re.compile(r"<\w+: .* at 0x[0-9a-f]+>")

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def answered(seconds: float | None = None) -> AsyncIterator[None]:
    """Raise one of LINK_ERRORS when the broker leaves what runs inside without an answer, for a heartbeat by default.

    aiormq gives up a connection on which nothing arrives any more only after three heartbeats and more, and ends
    whatever waits on it with a CancelledError that nobody asked for: passed on, it would end the worker.
    """
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    bound = HEARTBEAT_SECONDS if seconds is None else seconds
    try:
        async with asyncio.timeout(bound):
            yield
    except TimeoutError as error:
        raise ConnectionError(f"no answer from the broker within {bound:g} s") from error
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > asked:
            raise
        raise ConnectionError("the broker sends no heartbeats") from error


class _Connection(aio_pika.Connection):
    """A connection that decodes what any publisher wrote, and that counts as closed where none came about.

    aio-pika 10.2 closes an open one when it is collected; collected by another thread, which has no loop, that warns
    of a coroutine that nobody awaited.
    """

    def __init__(self, url: URL, name: str, transports: ReadableTransports) -> None:
        super().__init__(url, client_properties={"connection_name": name})
        self.kwargs["transport_factory"] = transports

    async def connect(self, timeout: TimeoutType = None) -> None:
        try:
            await super().connect(timeout)
        finally:
            if self.transport is None:
                await self.close()


class Link:
    """One connection and one channel, opened on demand and again after every loss.

    Several connections per worker keep apart what must not wait for each other: the channel that holds the
    delivery must survive a publish that times out, for an RPC that is cancelled closes its channel.
    """

    def __init__(self, url: str, name: str, *, confirms: bool, wait_seconds: float = 300.0) -> None:
        """Keep the broker's URL, the name that the management UI shows, and how long the first connect may take.

        Of several URLs, comma-separated, the first node that answers is used until it is gone. `confirms` opens a
        publisher channel whose unroutable messages raise.
        """
        self.url = url
        self._nodes = tuple(URL(node).update_query(heartbeat=str(HEARTBEAT_SECONDS)) for node in broker_urls(url))
        self._node = 0
        self._name = name
        self._confirms = confirms
        self._wait_seconds = wait_seconds
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._lock = asyncio.Lock()
        self._was_connected = False
        self._on_cancel: Callable[[], None] | None = None
        self.blocked = ""
        """Why the broker takes no messages from this connection; empty while it does."""
        self.broken = 0
        """The number of ends by the broker for errors of its own since a message came; its reader sets it to 0."""

    @property
    def address(self) -> str:
        """Return host and port of the broker's node that is used or was tried last, as messages show it."""
        url = self._nodes[self._node]
        return f"{url.host}:{url.port or (5671 if url.scheme == 'amqps' else 5672)}"

    async def channel(self) -> AbstractChannel:
        """Return an open channel, connecting with growing pauses, each once every node was tried.

        Raises Misconfigured for wrong credentials, BrokerUnavailable when the first connect took too long; after
        it was once open, it is waited for without end.
        """
        async with self._lock:
            if self._channel is not None and not self._channel.is_closed:
                return self._channel
            started, pause = time.monotonic(), 0.25
            while True:
                try:
                    return await self._open_one()
                except _REFUSALS as error:
                    raise Misconfigured(
                        f"the broker at {self.address} refuses these credentials or this virtual host:"
                        " check WORKER_BROKER_URL"
                    ) from error
                except LINK_ERRORS as error:
                    waited = time.monotonic() - started
                    if not self._was_connected and waited >= self._wait_seconds:
                        raise BrokerUnavailable(
                            f"no broker at {self.address} after {waited:.0f} s ({_word(error)});"
                            " start it, or check WORKER_BROKER_URL"
                        ) from error
                    log.warning(
                        "broker_unreachable", address=self.address, error=_word(error), retry_in=round(pause, 1)
                    )
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads a fleet's reconnects
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _open_one(self) -> AbstractChannel:
        """Return a channel of the first node that answers, the one used last before the others; else the last error."""
        for _ in self._nodes[1:]:
            try:
                return await self._open()
            except _REFUSALS:
                raise
            except LINK_ERRORS as error:
                log.warning("broker_node_unreachable", address=self.address, error=_word(error))
                self._node = (self._node + 1) % len(self._nodes)
        return await self._open()

    async def _open(self) -> AbstractChannel:
        if self._connection is None or self._connection.is_closed:
            await self.reset()
            transports = ReadableTransports(self._note_blocked, self._note_broken)
            connection = _Connection(self._nodes[self._node], self._name, transports)
            await connection.connect(timeout=CONNECT_SECONDS)
            self._connection = connection
        channel = self._connection.channel(publisher_confirms=self._confirms, on_return_raises=self._confirms)
        try:
            # aio-pika takes a timeout here and does not heed it.
            async with answered(CONNECT_SECONDS):
                await channel.initialize()
        except LINK_ERRORS:
            # A connection that the broker ended does not always count as closed: the next try needs a new one.
            await self.reset()
            raise
        self._channel = channel
        if self._was_connected:
            log.info("broker_reconnected", address=self.address)
        self._was_connected = True
        return channel

    def _note_broken(self) -> None:
        self.broken += 1

    def _note_blocked(self, reason: str) -> None:
        if reason:
            log.warning("broker_blocked", address=self.address, reason=reason)
        elif self.blocked:
            log.info("broker_unblocked", address=self.address)
        self.blocked = reason

    async def watch_cancels(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the broker cancels a consumer of the present channel (its queue was deleted).

        It takes the place of the one before.
        """
        channel = await self.channel()
        underlay = await channel.get_underlay_channel()
        self._on_cancel = callback
        # One entry a channel, however often it is added: none could be taken out while the channel goes through them.
        underlay.on_consumer_cancel_callbacks.add(self._cancelled)

    def _cancelled(self, _frame: object) -> None:
        if self._on_cancel is not None:
            self._on_cancel()

    async def check_topology(self, delays: tuple[float, ...], defer_seconds: float) -> None:
        """Return if everything that we use is declared in the broker; Misconfigured names the first that does not."""
        wanted: Topology = topology(delays, defer_seconds)
        names = [("exchange", item.name) for item in wanted.exchanges] + [
            ("queue", item.name) for item in wanted.queues
        ]
        for kind, name in names:
            channel = await self.channel()
            try:
                async with answered():
                    await (channel.get_exchange(name) if kind == "exchange" else channel.get_queue(name))
            except ChannelNotFoundEntity as error:
                raise Misconfigured(f"the broker has no {kind} {name}: run `python -m infra provision`") from error
            except LINK_ERRORS as error:
                raise BrokerUnavailable(f"the broker at {self.address} was lost: {_word(error)}") from error

    async def require_fleet(self, identity: str) -> None:
        """Return if the broker was provisioned for the database `identity`, or for none; Misconfigured otherwise.

        Who may not declare an exchange cannot ask.
        """
        try:
            async with answered():
                await (await self.channel()).get_exchange(FLEET)
            async with answered():
                arguments = fleet_mark(identity)
                await (await self.channel()).declare_exchange(FLEET, "fanout", durable=True, arguments=arguments)
        except ChannelPreconditionFailed as error:
            raise Misconfigured(f"the broker at {self.address} {OTHER_DATABASE}") from error
        except (ChannelNotFoundEntity, ChannelAccessRefused):
            return
        except LINK_ERRORS as error:
            raise BrokerUnavailable(f"the broker at {self.address} was lost: {_word(error)}") from error

    async def reset(self) -> None:
        """End the connection, so that the next use opens a fresh one; what it held goes back to its queue.

        A fresh channel alone is none on a connection that is stuck.
        """
        connection, self._connection, self._channel = self._connection, None, None
        self.blocked = ""
        if connection is not None:
            with contextlib.suppress(*LINK_ERRORS):
                await asyncio.wait_for(connection.close(), CONNECT_SECONDS)

    async def close(self) -> None:
        """Close the connection."""
        await self.reset()


def _word(error: BaseException) -> str:
    """Return an error in one line that holds no URL: aiormq names a connection by its repr, which has one."""
    line = _REPR.sub("the connection is", (str(error).splitlines() or [""])[0])
    return line.rpartition("@")[2][:200] or type(error).__name__
