"""Files that jobs replaced or deleted, and undoing it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from worker.control.undo import forget, list_originals, undo
from worker.core.record import Record
from worker.web.dependencies import Admin, Here, Operator, Viewer, audit_entry
from worker.web.problems import responses

if TYPE_CHECKING:
    from worker.core.ports.originals import Original

router = APIRouter(tags=["originals"])

JobId = Annotated[str, Field(min_length=1, max_length=128)]


class OriginalDocument(Record):
    """A file that a job replaced or deleted; `new_bytes` is None where it was deleted."""

    job_id: str
    uri: str
    bytes: int
    version: str
    new_bytes: int | None
    new_sha256: str | None
    state: str
    kept_at: datetime | None
    proved: bool
    problem: str | None

    @classmethod
    def of(cls, one: Original) -> OriginalDocument:
        """Return the document of an original."""
        return cls(**asdict(one))


class UndoneDocument(Record):
    """The files that were put back, and those of the job that are elsewhere and stay."""

    job_id: str
    restored: list[OriginalDocument]
    stays: list[str]


@router.get("/originals", summary="List what can be put back")
async def get_all(here: Here, _: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[OriginalDocument]:
    """Return what is kept of files that jobs replaced or deleted, the newest first."""
    return [OriginalDocument.of(one) for one in await list_originals(here.control, limit)]


@router.post("/jobs/{job_id}/undo", summary="Put back what a job replaced or deleted", responses=responses(404))
async def undo_one(request: Request, here: Here, _: Operator, job_id: JobId) -> UndoneDocument:
    """Return what is at its place again; 409 says what is in the way, and nothing is touched then."""
    async with audit_entry(request, "job.undo", job_id):
        done = await undo(here.control, here.originals, job_id)
    restored = [OriginalDocument.of(one) for one in done.restored]
    return UndoneDocument(job_id=done.job_id, restored=restored, stays=list(done.stays))


@router.delete(
    "/jobs/{job_id}/originals",
    summary="Delete for good what is kept of a job",
    responses=responses(404),
)
async def forget_one(request: Request, here: Here, _: Admin, job_id: JobId) -> list[OriginalDocument]:
    """Return what was deleted, whose space is free now; the job cannot be undone then."""
    async with audit_entry(request, "job.forget-originals", job_id):
        gone = await forget(here.control, here.originals, job_id)
    return [OriginalDocument.of(one) for one in gone]
