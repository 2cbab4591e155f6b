"""The connections of aiormq, whose frames are readable whatever a publisher wrote."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory

from worker.adapters.rabbitmq.frames import HEAD_BYTES, blocked_by, is_internal_error, take_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from yarl import URL


class ReadableTransports(TransportFactory):
    """The transport that aiormq connects with; the bytes that it reads are `readable`.

    `on_blocked` gets the reason why the broker takes no messages any more, and nothing when it takes them again;
    `on_broken` is called when it ends the connection for an error of its own.
    """

    def __init__(self, on_blocked: Callable[[str], None], on_broken: Callable[[], None]) -> None:
        self._on_blocked = on_blocked
        self._on_broken = on_broken

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        secure = url.scheme == "amqps"
        reader, writer = await (TLSTransportFactory() if secure else TCPTransportFactory()).create(url, **kwargs)
        return _ReadableReader(reader, self._on_blocked, self._on_broken), writer


class _ReadableReader(asyncio.StreamReader):
    """The reader of a connection, a frame at a time."""

    def __init__(
        self, reader: asyncio.StreamReader, on_blocked: Callable[[str], None], on_broken: Callable[[], None]
    ) -> None:
        super().__init__()
        self._on_blocked = on_blocked
        self._on_broken = on_broken
        self._reader = reader
        self._ready = bytearray()

    def at_eof(self) -> bool:
        return not self._ready and self._reader.at_eof()

    async def readexactly(self, n: int) -> bytes:
        if not self._ready:
            head = await self._reader.readexactly(HEAD_BYTES)
            received = bytearray(head)
            if not head.startswith(b"AMQP"):
                received += await self._reader.readexactly(int(struct.unpack_from(">L", head, 3)[0]) + 1)
                if (reason := blocked_by(bytes(received))) is not None:
                    self._on_blocked(reason)
                if is_internal_error(bytes(received)):
                    self._on_broken()
            self._ready += take_frames(received)
        if len(self._ready) < n:
            raise asyncio.IncompleteReadError(bytes(self._ready), n)
        taken = bytes(self._ready[:n])
        del self._ready[:n]
        return taken

    async def read(self, n: int = -1) -> bytes:
        taken = bytes(self._ready)
        self._ready.clear()
        return taken or await self._reader.read(n)
