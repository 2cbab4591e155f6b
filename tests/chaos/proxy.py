"""A small TCP proxy in front of one server: it cuts, delays, swallows, and answers HTTP in the server's place."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from dataclasses import dataclass, field

CHUNK = 64 * 1024
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>the campaign says so</Message></Error>"
REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) \S+ HTTP/1\.[01]\r\n")
WRITING = re.compile(rb"^(PUT|POST) \S+ HTTP/1\.[01]\r\n")
ANSWER = re.compile(rb"")
CONTENT = re.compile(rb"^HTTP/1\.[01] 20[06] .*?content-length: \d{4,}\r\n.*?\r\n\r\n.", re.DOTALL | re.IGNORECASE)
"""Any part of an answer, and the beginning of one that brings an object."""
NOTED_SECONDS = 0.05
"""How long a server has to act upon the last words of a connection that is cut."""


@dataclass(eq=False)
class Pair:
    """The two halves of one proxied connection; `dead` ones stay open and carry nothing, `mute` ones no answer."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False
    mute: bool = False

    def abort(self) -> None:
        for end in (self.client, self.server):
            # Without it a close is an orderly end, which no cable that breaks has ever sent.
            if (connection := end.get_extra_info("socket")) is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


@dataclass
class Proxy:
    """One listening port on loopback that leads to `target`, a port on loopback.

    `delay` are seconds before each chunk; `answer` an HTTP status that every request which is `answered` gets; `short`
    ends every such answer half-way; `swallow_at` is what a client says last: from there on, every present connection
    is half-open; `cut_at` is what the server hears last: no answer comes back. `touched` counts what met a fault.
    """

    target: int
    delay: float = 0.0
    answer: int = 0
    answered: re.Pattern[bytes] = REQUEST
    short: re.Pattern[bytes] | None = None
    swallow_at: re.Pattern[bytes] | None = None
    cut_at: re.Pattern[bytes] | None = None
    touched: int = 0
    port: int = 0
    pairs: set[Pair] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection with a reset."""
        for pair in list(self.pairs):
            pair.abort()

    def swallow(self) -> None:
        """Leave every present connection open for good, and carry nothing over it: half-open for both sides."""
        for pair in self.pairs:
            pair.dead = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        pair = Pair(writer, to_server)
        self.pairs.add(pair)
        try:
            pumps = [
                asyncio.create_task(self._pump(reader, to_server, pair, upward=True)),
                asyncio.create_task(self._pump(from_server, writer, pair, upward=False)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if pair.dead:
                # Nor does the end of one side reach the other.
                await asyncio.wait(pumps)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self.pairs.discard(pair)
            to_server.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: Pair, *, upward: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self.delay:
                    self.touched += 1
                    await asyncio.sleep(self.delay)
                if upward and self.swallow_at and self.swallow_at.search(chunk):
                    self.swallow_at = None
                    self.swallow()
                if pair.dead or (pair.mute and not upward):
                    continue
                if upward and self.cut_at and self.cut_at.search(chunk):
                    await self._hear_out(writer, chunk)
                    return
                if upward and self.answer and self.answered.match(chunk):
                    self.touched += 1
                    await self._refuse(pair)
                    return
                if not upward and self.short and len(chunk) > 1 and self.short.match(chunk):
                    self.touched += 1
                    writer.write(chunk[: len(chunk) // 2])
                    await writer.drain()
                    return
                writer.write(chunk)
                await writer.drain()

    async def _hear_out(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        """Let the server act upon a chunk, and end every connection before it can answer."""
        self.cut_at = None
        for pair in self.pairs:
            pair.mute = True
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(NOTED_SECONDS)
        self.cut()

    async def _refuse(self, pair: Pair) -> None:
        code = b"SlowDown" if self.answer == 503 else b"InternalError"
        body = SLOW_DOWN % code
        pair.client.write(
            b"HTTP/1.1 %d Refused\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (self.answer, len(body))
            + body
        )
        await pair.client.drain()
        # A reset would take the answer with it.
        await asyncio.sleep(0.1)
