"""The log of an attempt's tools, for people: bounded, redacted, and in the database while they run."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from worker.core.errors import LeveretError
from worker.core.redaction import redact
from worker.engine.attempt.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from worker.core.attempt import Attempt
    from worker.core.command import Exit, Pipeline
    from worker.core.ports import Repository

HEAD_CHARACTERS: Final = 256 * 1024
TAIL_CHARACTERS: Final = 768 * 1024
LINE_CHARACTERS: Final = 4000
STORED_BYTES: Final = 256 * 1024
FLUSH_SECONDS: Final = 2.0
OUTPUT_LINES: Final = 20


class Excerpt:
    """Lines within bounds: the first, the last, and how many between them are gone."""

    def __init__(self, head: int = HEAD_CHARACTERS, tail: int = TAIL_CHARACTERS) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_room, self._tail_room = head, tail
        self._gone = 0
        self.changes = 0

    def add(self, line: str) -> None:
        """Take the next line; one that is too long is cut."""
        line = line[:LINE_CHARACTERS] + "\n"
        self.changes += 1
        if not self._tail and len(line) <= self._head_room:
            self._head.append(line)
            self._head_room -= len(line)
            return
        self._tail.append(line)
        self._tail_room -= len(line)
        while self._tail_room < 0:
            self._tail_room += len(self._tail.popleft())
            self._gone += 1

    @property
    def text(self) -> str:
        """Return all that is kept."""
        between = [f"[{self._gone} lines left out]\n"] if self._gone else []
        return "".join([*self._head, *between, *self._tail])


class ToolLog:
    """The log of one attempt, stored every few seconds while it is open; nothing is stored of an attempt without tools.

    It is for people to read: where the database is away it is stored later, and no job fails for it.
    """

    def __init__(self, repository: Repository, attempt: Attempt) -> None:
        self._repository = repository
        self._attempt = attempt
        self._secrets = frozenset(attempt.job.secrets)
        self._excerpt = Excerpt()
        self._stored = 0
        self._several = False
        self._started = time.monotonic()
        self._keeper: Watch | None = None

    async def __aenter__(self) -> Self:
        """Begin to store."""
        self._keeper = Watch(FLUSH_SECONDS, self._keep, "tool log")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Store the last of it."""
        if self._keeper is not None:
            await self._keeper.stop()
        await self._store()

    @property
    def text(self) -> str:
        """Return what there is so far."""
        return self._excerpt.text

    def begin(self, pipeline: Pipeline) -> None:
        """Note the commands that start now."""
        self._several = len(pipeline.stages) > 1
        self._secrets |= {secret for command in pipeline.stages for secret in command.secrets}
        self._add(f"[{time.monotonic() - self._started:.1f} s] $ " + " | ".join(_lines_of(pipeline)))

    def line(self, program: str, text: str) -> None:
        """Note a line of a tool's standard error."""
        self._add(f"{program}: {text}" if self._several else text)

    def end(self, exits: Iterable[Exit]) -> None:
        """Note how the commands ended; of one that failed, the last of its standard output too."""
        for one in exits:
            if not one.ok:
                for line in one.output.splitlines()[-OUTPUT_LINES:]:
                    self.line(one.command.program, line)
            self._add(f"[{time.monotonic() - self._started:.1f} s] {one}")

    def stop(self) -> None:
        """Note that the commands were ended from outside: nobody waits for their exits then."""
        self._add(f"[{time.monotonic() - self._started:.1f} s] stopped from outside and killed")

    def _add(self, text: str) -> None:
        self._excerpt.add(redact(text, self._secrets))

    async def _keep(self) -> None:
        while True:
            await self._store()
            await asyncio.sleep(FLUSH_SECONDS)

    async def _store(self) -> None:
        changes = self._excerpt.changes
        if changes == self._stored:
            return
        content = await asyncio.to_thread(packed, self._excerpt.text)
        with contextlib.suppress(LeveretError):
            await self._repository.store_log(self._attempt, content)
            self._stored = changes


def _lines_of(pipeline: Pipeline) -> Iterable[str]:
    return (shlex.join((command.program, *command.argv[1:])) for command in pipeline.stages)


def packed(text: str, limit: int = STORED_BYTES) -> bytes:
    """Return `text` compressed to at most `limit` bytes; what does not fit is cut from its middle."""
    kept = len(text)
    content = zlib.compress(text.encode(errors="replace"))
    while len(content) > limit:
        kept //= 2
        middle = f"\n[{len(text) - kept} characters left out]\n"
        content = zlib.compress(
            (text[: kept // 4] + middle + text[len(text) - kept * 3 // 4 :]).encode(errors="replace")
        )
    return content
