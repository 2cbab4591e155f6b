"""The output of a tool within bounds: its lines, the last of its output, head and tail of its complaints."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHUNK_BYTES: Final = 64 * 1024
LINE_BYTES: Final = 64 * 1024

_LINE_END: Final = re.compile(rb"[\r\n]")
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


class Sink(Protocol):
    """A receiver of a tool's bytes, as they come."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        ...

    def close(self) -> None:
        """Take note that there are no more."""
        ...


class Tail:
    """The last `limit` bytes; with `head`, as many of the first, and how many between them are gone."""

    def __init__(self, limit: int, head: int = 0) -> None:
        self._limit, self._head_limit = limit, head
        self._head, self._tail, self._seen = bytearray(), bytearray(), 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._seen += len(chunk)
        if room := self._head_limit - len(self._head):
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) > 2 * self._limit:
            self._trim()

    def close(self) -> None:
        """Take note that there are no more."""
        self._trim()

    def _trim(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._limit)]

    @property
    def content(self) -> bytes:
        """Return what is kept, with a line that says how much is not."""
        self._trim()
        gone = self._seen - len(self._head) - len(self._tail)
        between = b"\n[%d bytes left out]\n" % gone if gone and self._head_limit else b""
        return bytes(self._head) + between + bytes(self._tail)


class Lines:
    r"""Bytes to lines: `\r` and `\n` both end one, an over-long one is cut, empty ones are dropped."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; each line that they complete is passed on."""
        *complete, rest = _LINE_END.split(chunk)
        for part in complete:
            self._extend(part)
            self._finish_line()
        self._extend(rest)

    def close(self) -> None:
        """Pass on the last line, which nothing ended."""
        self._finish_line()

    def _extend(self, part: bytes) -> None:
        if room := LINE_BYTES - len(self._rest):
            self._rest += part[:room]

    def _finish_line(self) -> None:
        line = text_of(bytes(self._rest))
        self._rest.clear()
        if line:
            self._on_line(line)


def text_of(content: bytes) -> str:
    r"""Return `content` as text that every log and database takes: UTF-8 or replaced, `\r` as `\n`, no controls."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text)


async def drain(descriptor: int, sinks: Sequence[Sink]) -> None:
    """Read a pipe to its end in chunks and close it. `readline` would give up on a long line and block the tool."""
    reader = asyncio.StreamReader(limit=CHUNK_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            for sink in sinks:
                sink.feed(chunk)
        for sink in sinks:
            sink.close()
    finally:
        transport.close()
