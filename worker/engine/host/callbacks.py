"""The final record, POSTed where the job asked for it: at least once, and never the job's fault."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import structlog

from worker.core.errors import LeveretError, StorageUnavailable

if TYPE_CHECKING:
    from worker.core.ports import Repository
    from worker.core.record import JobRecord

CLOSING_SECONDS: Final = 10.0
FORGOTTEN_AFTER: Final = 120.0
POST_SECONDS: Final = 60.0
"""The seconds of one callback, all its tries together."""
REST_SECONDS: Final = 60.0
"""The seconds for which a receiver that did not take a callback is left alone."""
AT_ONCE: Final = 4
AT_ONE_RECEIVER: Final = 2
MAX_WAITING: Final = 100
"""More wait in the database, where an idle worker finds them."""
MAX_ARTIFACTS: Final = 1000
"""Artifacts that a callback names: the record of a long film has a hundred thousand segments."""

log = structlog.get_logger(__name__)


class Poster(Protocol):
    """Delivers a document."""

    async def __call__(self, url: str, document: str) -> None:
        """POST a JSON document, with its own retries; a LeveretError when it could not be delivered."""
        ...


@dataclass
class _Receiver:
    """A host that callbacks go to: how many may go at once, how many wait, and until when it is left alone."""

    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONE_RECEIVER))
    users: int = 0
    rests_until: float = 0.0


class Callbacks:
    """Posts in the background, a few at a time, one receiver not at the expense of others.

    What finds no room, what a resting receiver would get, and what a killed worker left stays due in the database: the
    next idle worker takes it up.
    """

    def __init__(self, repository: Repository, poster: Poster) -> None:
        self._repository = repository
        self._poster = poster
        self._free = asyncio.Semaphore(AT_ONCE)
        self._receivers: dict[str, _Receiver] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, job_id: str, url: str) -> asyncio.Task[None] | None:
        """Post the record of an ended job in a task; None when it stays in the database for now."""
        if job_id in self._tasks or len(self._tasks) >= MAX_WAITING:
            return None
        receiver = self._receiver(urlsplit(url).netloc)
        if receiver.rests_until > time.monotonic():
            return None
        receiver.users += 1
        task = asyncio.create_task(self._post_in_turn(job_id, url, receiver), name=f"callback {job_id}")
        self._tasks[job_id] = task
        task.add_done_callback(lambda _: self._ended(job_id, receiver))
        return task

    def _receiver(self, host: str) -> _Receiver:
        now = time.monotonic()
        for name in [name for name, one in self._receivers.items() if not one.users and one.rests_until <= now]:
            del self._receivers[name]
        return self._receivers.setdefault(host, _Receiver())

    def _ended(self, job_id: str, receiver: _Receiver) -> None:
        receiver.users -= 1
        self._tasks.pop(job_id, None)

    async def take_up(self) -> None:
        """Post what is due for so long that its worker must be gone, or had no room for it."""
        due = await self._repository.pending_callbacks(FORGOTTEN_AFTER, MAX_WAITING)
        tasks = [task for job_id, url in due if (task := self.begin(job_id, url)) is not None]
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            # This worker stops: another one sends these callbacks.
            for task in tasks:
                task.cancel()

    async def _post_in_turn(self, job_id: str, url: str, receiver: _Receiver) -> None:
        async with receiver.free, self._free:
            if receiver.rests_until > time.monotonic():
                return
            try:
                record = await self._repository.job(job_id)
                if record is None or not record.is_terminal:
                    return
                document = await asyncio.to_thread(document_of, record)
                error = await self._delivery_error(url, document, job_id, receiver)
                await self._repository.callback_done(job_id, error=error)
            except LeveretError as error:
                log.warning("callback_not_recorded", job_id=job_id, error=str(error))

    async def _delivery_error(self, url: str, document: str, job_id: str, receiver: _Receiver) -> str | None:
        """Return why the document could not be delivered, None when it was."""
        try:
            async with asyncio.timeout(POST_SECONDS):
                await self._poster(url, document)
        except TimeoutError:
            error: LeveretError = StorageUnavailable(f"the receiver took longer than {POST_SECONDS:.0f} s")
        except LeveretError as refused:
            error = refused
        else:
            return None
        if isinstance(error, StorageUnavailable):
            receiver.rests_until = time.monotonic() + REST_SECONDS
        log.warning("callback_failed", job_id=job_id, error=str(error))
        return str(error)

    async def close(self) -> None:
        """Wait a little for what is under way."""
        tasks = set(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING_SECONDS)
        for task in tasks:
            task.cancel()


def document_of(record: JobRecord) -> str:
    """Return what is POSTed of an ended job: its record, with a bounded number of artifacts, segments last."""
    left_out = len(record.artifacts) - MAX_ARTIFACTS
    if left_out <= 0:
        return record.model_dump_json(exclude={"document", "callback", "callback_error"})
    kept = sorted(record.artifacts, key=lambda artifact: artifact.role in {"segment", "init"})[:MAX_ARTIFACTS]
    shorter = record.model_copy(update={"artifacts": kept})
    document = shorter.model_dump(mode="json", exclude={"document", "callback", "callback_error"})
    return json.dumps(document | {"artifacts_left_out": left_out}, ensure_ascii=False)
