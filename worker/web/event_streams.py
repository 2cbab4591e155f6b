"""Event streams: the fleet's pulse, and a log that grows."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from worker.control.query import find_job
from worker.core.errors import LeveretError
from worker.core.growing_text import news

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.record import LogRecord
    from worker.web.services import Services

POLL_SECONDS: Final = 1.0
BEAT: Final = b": still here\n\n"
RETRY_MILLISECONDS: Final = 2000
MAX_FOLLOWERS: Final = 200


def event(name: str, data: Any, version: str = "") -> bytes:
    """Return one server-sent event; JSON has no line break that would end it."""
    head = f"id: {version}\n" if version else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def pulse_events(here: Services, jobs: frozenset[str], seen: str) -> AsyncIterator[bytes]:
    """Yield `change` when the fleet, or one of these jobs, is not what it was, and `trouble` while nobody can know."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    async for signal in here.pulse.watch(jobs, seen):
        if signal.problem:
            yield event("trouble", {"problem": signal.problem})
        elif signal.changed:
            yield event("change", {}, signal.version)
        elif signal.version:
            yield event("here", {}, signal.version)


async def log_events(here: Services, job_id: str) -> AsyncIterator[bytes]:
    """Yield what is new in a job's log until the job has ended.

    `attempt` begins a new text, `text` adds to it, `end` says how the job ended. The log is read after the state, so
    that its last words are in it.
    """
    here.followers += 1
    try:
        async for one in _log_events(here, job_id):
            yield one
    finally:
        here.followers -= 1


async def _log_events(here: Services, job_id: str) -> AsyncIterator[bytes]:
    shown: LogRecord | None = None
    while not here.pulse.closed:
        try:
            record = await find_job(here.control, job_id)
            found = await here.control.stores.log(job_id)
        except LeveretError as error:
            yield event("trouble", {"problem": str(error)})
            await asyncio.sleep(POLL_SECONDS)
            continue
        if found is not None:
            if shown is None or shown.epoch != found.epoch:
                yield event("attempt", {"number": found.number, "round": found.round, "worker": found.worker})
                shown = None
            if new := news(shown.text if shown else "", found.text):
                yield event("text", {"text": new})
            shown = found
        if record.is_terminal:
            yield event("end", {"state": record.state})
            return
        yield BEAT
        await asyncio.sleep(POLL_SECONDS)
