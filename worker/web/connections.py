"""Connections that hold the server up: heads and bodies that trickle, answers that nobody reads, too many of one host.

uvicorn itself ends only those that idle between two requests.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

IPV6_NETWORK: Final = 64
"""The bits of an IPv6 address that a provider gives to one customer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of connections: how long a client may take, in seconds, and how many one host may have.

    A body must bring `body_bytes` in each `body_seconds`; an answer must be read a little in each `send_seconds`.
    """

    head_seconds: float = 20.0
    body_seconds: float = 30.0
    body_bytes: int = 1024
    send_seconds: float = 120.0
    look_seconds: float = 5.0
    most_of_one: int = 400


def host_of(address: str) -> str:
    """Return who an address counts as: itself, or the network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:  # noqa: PLR2004 - IPv4
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ipaddress.ip_network((found, IPV6_NETWORK), strict=False))


@dataclass(frozen=True, slots=True)
class _Shared:
    limits: Limits
    is_proxy: Callable[[str], bool]
    counts: Counter[str] = field(default_factory=Counter)


class LimitedProtocol(H11Protocol):
    """One connection. `limited_protocol` fills in what all connections of a server share."""

    shared: ClassVar[_Shared]
    _host = ""
    _received = 0
    _resumed = 0
    _timer: asyncio.TimerHandle | None = None
    _seen: tuple[Any, ...] = ()
    _since = 0.0
    _mark = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at it now and then; end it where its host has too many."""
        super().connection_made(transport)
        peer = self.client[0] if self.client else ""
        if peer and not self.shared.is_proxy(peer):
            self._host = host_of(peer)
            self.shared.counts[self._host] += 1
            if self.shared.counts[self._host] > self.shared.limits.most_of_one:
                transport.abort()
                return
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self.shared.limits.look_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        if self._host:
            self.shared.counts[self._host] -= 1
            if not self.shared.counts[self._host]:
                del self.shared.counts[self._host]

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        self._received += len(data)
        super().data_received(data)

    def resume_writing(self) -> None:
        """Count how often the client took what was buffered."""
        self._resumed += 1
        super().resume_writing()

    def _look(self) -> None:
        """End the connection if it is in the same state for too long; else look again later."""
        now, (state, seconds) = self.loop.time(), self._state()
        if state != self._seen:
            self._seen, self._since, self._mark = state, now, self._received
        elif now - self._since >= seconds:
            if state[0] != "body" or self._received - self._mark < self.shared.limits.body_bytes:
                self.transport.abort()
                return
            self._since, self._mark = now, self._received
        self._timer = self.loop.call_later(self.shared.limits.look_seconds, self._look)

    def _state(self) -> tuple[tuple[Any, ...], float]:
        """Return what the connection waits for, equal while nothing happens, and how long it may."""
        if self.flow.write_paused:
            return ("send", self._resumed, self.transport.get_write_buffer_size()), self.shared.limits.send_seconds
        if self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused:
            return ("body", self.cycle), self.shared.limits.body_seconds
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            # between two requests uvicorn's own timer runs
            idle = self.timeout_keep_alive_task is not None
            return ("head", self.cycle, idle), float("inf") if idle else self.shared.limits.head_seconds
        return ("work",), float("inf")


def limited_protocol(limits: Limits, is_proxy: Callable[[str], bool]) -> type[LimitedProtocol]:
    """Return the protocol of one server; a proxy's connections are not counted, as they are many people's."""
    return type("LimitedProtocol", (LimitedProtocol,), {"shared": _Shared(limits, is_proxy)})
