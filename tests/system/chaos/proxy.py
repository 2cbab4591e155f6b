"""A small TCP proxy in front of one server: it cuts, delays, swallows, and answers HTTP in the server's place."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field

CHUNK = 64 * 1024
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>the campaign says so</Message></Error>"
REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) \S+ HTTP/1\.[01]\r\n")


@dataclass(eq=False)
class Pair:
    """The two halves of one proxied connection; `dead` ones stay open and carry nothing any more."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


@dataclass
class Proxy:
    """One listening port on loopback that leads to `target`, a port on loopback.

    `delay` are seconds before each chunk; `answer` an HTTP status that every request gets; `short` ends every
    answer half-way; `swallow_at` is what a client says last: from there on, every present connection is half-open.
    """

    target: int
    delay: float = 0.0
    answer: int = 0
    short: bool = False
    swallow_at: re.Pattern[bytes] | None = None
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
                    await asyncio.sleep(self.delay)
                if upward and self.swallow_at and self.swallow_at.search(chunk):
                    self.swallow_at = None
                    self.swallow()
                if pair.dead:
                    continue
                if upward and self.answer and REQUEST.match(chunk):
                    await self._refuse(pair)
                    return
                if not upward and self.short and len(chunk) > 1:
                    writer.write(chunk[: len(chunk) // 2])
                    await writer.drain()
                    return
                writer.write(chunk)
                await writer.drain()

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
