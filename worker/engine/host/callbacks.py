"""The final record, POSTed where the job asked for it: at least once, and never the job's fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from worker.core.ports import Repository

CLOSING_SECONDS: Final = 10.0
FORGOTTEN_AFTER: Final = 120.0

log = structlog.get_logger(__name__)


class Poster(Protocol):
    """Delivers a document."""

    async def __call__(self, url: str, document: str) -> None:
        """POST a JSON document, with its own retries; a LeveretError when it could not be delivered."""
        ...


class Callbacks:
    """Posts in the background; what a killed worker left pending is taken up by the next idle one."""

    def __init__(self, repository: Repository, poster: Poster) -> None:
        self._repository = repository
        self._poster = poster
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job_id: str) -> None:
        """Post the record of an ended job, if it asked for it."""
        task = asyncio.create_task(self._post(job_id), name=f"callback {job_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def take_up(self) -> None:
        """Post what has been pending for so long that its worker must be gone."""
        for job_id in await self._repository.pending_callbacks(FORGOTTEN_AFTER):
            await self._post(job_id)

    async def _post(self, job_id: str) -> None:
        try:
            record = await self._repository.job(job_id)
            url = record.document.get("callback_url") if record else None
            if record is None or not url:
                return
            document = record.model_dump_json(exclude={"document", "callback", "callback_error"})
            await self._repository.callback_done(job_id, error=await self._deliver(url, document, job_id))
        except LeveretError as error:
            log.warning("callback_not_recorded", job_id=job_id, error=str(error))

    async def _deliver(self, url: str, document: str, job_id: str) -> str | None:
        """Return why the document could not be delivered, None when it was."""
        try:
            await self._poster(url, document)
        except LeveretError as error:
            log.warning("callback_failed", job_id=job_id, error=str(error))
            return str(error)
        return None

    async def close(self) -> None:
        """Wait a little for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING_SECONDS)
        for task in self._tasks:
            task.cancel()
