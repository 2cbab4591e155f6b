"""`DocumentOperations` and `JobOperations` over a server's API."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import NotFound
from worker.control.jobs import CancelRequest
from worker.control.replay import Republished
from worker.control.submit import Submitted
from worker.control.undo import Undone
from worker.control.validate import Validation
from worker.core.errors import InvalidJob, Problem, ServerUnavailable
from worker.core.listing import MAX_LISTED
from worker.core.message.dialects import decode
from worker.core.ports.originals import Original
from worker.core.record import JobRecord, LogRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from worker.core.listing import JobFilter
    from worker.remote.link import Link

OWN_ID: Final = "an-id-of-ours"
TRIES: Final = 3


class RemoteJobs:
    """Messages, jobs and the originals that are kept of them, of a server."""

    _link: Link

    async def validate(self, body: bytes) -> Validation:
        """Return what is known of a message."""
        found = await self._link.send("POST", "validate", body=body)
        return Validation(
            job=None,
            dialect=found["dialect"],
            modules=tuple(found["modules"]),
            lane=found["lane"],
            priority=found["priority"],
            problems=tuple(Problem(one["path"], one["message"]) for one in found["problems"]),
            unchecked=tuple(found["unchecked"]),
        )

    async def message_schema(self) -> dict[str, Any]:
        """Return the schema of a message."""
        return dict(await self._link.ask("schema"))

    async def module_schema(self, name: str) -> dict[str, Any]:
        """Return the schema of a module's data."""
        return dict(await self._link.ask("modules", name, "schema"))

    async def submit(self, body: bytes, *, lane: str | None = None, priority: str | None = None) -> Submitted:
        """Return the job that was submitted: once, even where the answer was lost and it was sent again."""
        query, headers = {"lane": lane, "priority": priority}, {}
        if not _has_own_id(body):
            headers["Idempotency-Key"] = uuid.uuid4().hex
        for turn in range(TRIES):
            try:
                found = await self._link.send("POST", "jobs", query=query, body=body, headers=headers)
                break
            except ServerUnavailable:
                if not headers or turn == TRIES - 1:
                    raise
        return Submitted(JobRecord.model_validate(found["job"]), tuple(found["warnings"]))

    async def find_job(self, name: str) -> JobRecord:
        """Return a job."""
        if not name:
            raise NotFound(f"there is no job {name!r}")
        return JobRecord.model_validate(await self._link.ask("jobs", name))

    async def matching_jobs(self, chosen: JobFilter, *, limit: int, details: bool = False) -> AsyncIterator[JobRecord]:
        """Yield the newest jobs that match, page by page."""
        query: dict[str, object] = {
            "state": chosen.state, "lane": chosen.lane, "worker": chosen.worker, "module": chosen.module,
            "text": chosen.text, "since": _time(chosen.since), "until": _time(chosen.until), "details": details,
        }  # fmt: skip
        left, cursor = limit, None
        while left > 0:
            page = await self._link.ask("jobs", limit=min(left, MAX_LISTED), cursor=cursor, **query)
            for document in page["jobs"]:
                yield JobRecord.model_validate(document)
            cursor = page["next_cursor"]
            if cursor is None:
                return
            left -= len(page["jobs"])

    async def job_log(self, job_id: str, number: int | None = None) -> LogRecord:
        """Return a job's log."""
        return LogRecord.model_validate(await self._link.ask("jobs", job_id, "log", attempt=number))

    async def cancel_job(self, name: str, *, unseen: bool = False) -> CancelRequest:
        """Ask for the cancellation of a job."""
        found = await self._link.send("POST", "jobs", name, "cancel", query={"unseen": unseen})
        return CancelRequest(found["job_id"], found["state"])

    async def retry_job(self, name: str) -> Republished:
        """Run a job again."""
        return Republished(**await self._link.send("POST", "jobs", name, "retry"))

    async def list_originals(self) -> list[Original]:
        """Return what is kept."""
        return [_original(one) for one in await self._link.ask("originals", limit=MAX_LISTED)]

    async def undo(self, job_id: str) -> Undone:
        """Put back what a job replaced or deleted."""
        found = await self._link.send("POST", "jobs", job_id, "undo", seconds=None)
        return Undone(found["job_id"], tuple(map(_original, found["restored"])), tuple(found["stays"]))

    async def forget_originals(self, job_id: str) -> tuple[Original, ...]:
        """Delete for good what is kept of a job."""
        found = await self._link.send("DELETE", "jobs", job_id, "originals", seconds=None)
        return tuple(map(_original, found))


def _original(document: Mapping[str, Any]) -> Original:
    return Original(**{**document, "kept_at": _moment(document["kept_at"])})


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _has_own_id(body: bytes) -> bool:
    """Return whether the message says its job's id, by which the server knows it again."""
    try:
        return decode(body, OWN_ID).job_id != OWN_ID
    except InvalidJob:
        return True


def _time(value: datetime | timedelta | None) -> str | None:
    """Return a time or an age as the API takes it."""
    match value:
        case timedelta():
            return f"{int(value.total_seconds())}s"
        case datetime():
            return value.astimezone(UTC).isoformat()
        case None:
            return None
