"""Answers that come line by line while the work goes on: one JSON object a line (NDJSON).

The last line is `{"end": …}`, or `{"problem": …}` with the problem document of what went wrong. An empty line is a sign
of life. Who closes the connection ends the work.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import StreamingResponse

from worker.core.errors import LeveretError
from worker.web.problems import Refused, document_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from worker.web.services import Services

MEDIA_TYPE: Final = "application/x-ndjson"
BEAT_SECONDS: Final = 5.0
MAX_WAITING: Final = 100
MAX_AT_ONCE: Final = 8
"""The number of streams that work at once: each walks through folders and probes files."""
RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "description": "One JSON object a line."}}}}
}


class Lines:
    """The lines of one answer that were not sent yet."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_WAITING)

    async def add(self, name: str, value: Any) -> None:
        """Return once there is room for this line."""
        await self.waiting.put({name: value})

    def show(self, name: str, value: Any) -> None:
        """Add this line if there is room for it: the next one says more."""
        if not self.waiting.full():
            self.waiting.put_nowait({name: value})


def stream_lines(here: Services, work: Callable[[Lines], Awaitable[None]]) -> StreamingResponse:
    """Return the answer that does `work` and sends the lines that it adds; Refused when too many work already."""
    if here.streaming >= MAX_AT_ONCE:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{here.streaming} such requests are at work already")
    return StreamingResponse(_lines(here, work), media_type=MEDIA_TYPE)


async def _lines(here: Services, work: Callable[[Lines], Awaitable[None]]) -> AsyncIterator[bytes]:
    lines = Lines()
    # A task of its own: a client that goes away cancels the answer at every wait, and what was done is noted all the
    # same.
    task = asyncio.create_task(_run(work, lines), name="stream")
    here.tasks.add(task)
    task.add_done_callback(here.tasks.discard)
    here.streaming += 1
    try:
        while True:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    line = await lines.waiting.get()
            except TimeoutError:
                if task.done():
                    # An error of our own code ends the answer without its last line.
                    task.result()
                if here.pulse.closed:
                    yield _line({"problem": _problem(Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the server ends"))})
                    return
                yield b"\n"
                continue
            yield _line(line)
            if "end" in line or "problem" in line:
                return
    finally:
        here.streaming -= 1
        task.cancel()


async def _run(work: Callable[[Lines], Awaitable[None]], lines: Lines) -> None:
    try:
        await work(lines)
    except LeveretError as error:
        await lines.add("problem", _problem(error))
    else:
        await lines.add("end", {})


def _problem(error: LeveretError) -> dict[str, Any]:
    return document_of(error).model_dump()


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"
