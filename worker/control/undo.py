"""Undoing a job: what it replaced or deleted is put back, whole, as long as it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from worker.control.errors import Conflict, NotFound
from worker.control.query import find_job
from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from worker.control.resources import Control
    from worker.core.ports import Stat
    from worker.core.ports.originals import Original
    from worker.core.record import JobRecord


class Originals(Protocol):
    """The files themselves, by their URIs."""

    async def kept(self, original: Original) -> Stat | None:
        """Return what is kept of it, or None."""
        ...

    async def current_stat(self, original: Original) -> Stat | None:
        """Return what is at its place now, or None."""
        ...

    async def put_back(self, original: Original, *, replace: bool) -> bool:
        """Return whether it is at its place again."""
        ...

    async def drop(self, original: Original) -> None:
        """Delete what is kept of it."""
        ...


@dataclass(frozen=True, slots=True)
class Undone:
    """The files that were put back, and the outputs of the job that stay because they are elsewhere."""

    job_id: str
    restored: tuple[Original, ...]
    stays: tuple[str, ...]


async def list_originals(control: Control, limit: int = 1000) -> list[Original]:
    """Return what can be put back, the newest first."""
    return await control.stores.originals(limit=limit)


async def undo(control: Control, files: Originals, job_id: str) -> Undone:
    """Put back all that a job replaced or deleted; a second call goes on where a first one was killed.

    Nothing is touched before all of it can be put back: Conflict says what is in the way, NotFound that nothing is
    kept.
    """
    record = await find_job(control, job_id)
    if not record.is_terminal:
        raise Conflict(f"the job {record.job_id} is {record.state}: cancel it, or wait until it has ended")
    rows = [one for one in await control.stores.originals(record.job_id) if one.state in {"planned", "kept"}]
    ready = [one for one in rows if await _is_ready(files, one, record)]
    for original in rows:
        if original.state == "kept" and original not in ready:
            await control.stores.set_original(original.job_id, original.uri, "restored")
    if not ready:
        raise NotFound(f"nothing is kept of the job {record.job_id}: {await _why_nothing(control, record)}")
    for original in ready:
        if await files.put_back(original, replace=not original.is_deletion):
            await control.stores.set_original(original.job_id, original.uri, "restored")
    uris = {one.uri for one in ready}
    stays = tuple(one.uri for one in record.artifacts if one.uri not in uris and one.role != "log")
    return Undone(record.job_id, tuple(ready), stays)


async def forget(control: Control, files: Originals, job_id: str) -> tuple[Original, ...]:
    """Delete for good what is kept of a job, which cannot be undone then; return it."""
    record = await find_job(control, job_id)
    rows = [one for one in await control.stores.originals(record.job_id) if one.state == "kept"]
    if not rows:
        raise NotFound(f"nothing is kept of the job {record.job_id}")
    for original in rows:
        await files.drop(original)
        await control.stores.set_original(original.job_id, original.uri, "purged")
    return tuple(rows)


async def _is_ready(files: Originals, original: Original, record: JobRecord) -> bool:
    """Return whether an original can be put back; Conflict when something else is in its place."""
    kept = await files.kept(original)
    if kept is None:
        if original.state == "kept":
            # A killed `undo` may have put it back before it could say so.
            current = await files.current_stat(original)
            if current is None or current.version != original.version:
                raise Conflict(f"what was kept of {original.uri} is gone: somebody removed it")
        return False
    current = await files.current_stat(original)
    if current is None or current.version == original.version:
        return True
    if original.is_deletion:
        raise Conflict(f"{original.uri} was deleted, and another file is there now: move it away first")
    if current.bytes != original.new_bytes:
        raise Conflict(
            f"{original.uri} has {current.bytes} bytes, and the job {record.job_id} made {original.new_bytes}: "
            "it was changed since; move it away first"
        )
    return True


async def _why_nothing(control: Control, record: JobRecord) -> str:
    try:
        states = {one.state for one in await control.stores.originals(record.job_id)}
    except LeveretError as error:
        return str(error)
    if "restored" in states:
        return "it was undone before"
    if "purged" in states:
        return "its originals are too old, and were deleted (WORKER_UNDO_DAYS, WORKER_UNDO_BYTES)"
    return "it replaced and deleted nothing"
