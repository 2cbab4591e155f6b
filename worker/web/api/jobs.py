"""Jobs over the API: list, submit, look, cancel, retry, logs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from worker.control.jobs import cancel_job, retry_job
from worker.control.query import find_job, job_log, list_jobs
from worker.control.submit import submit
from worker.core.errors import IdReused
from worker.core.job import Lane, Priority
from worker.core.message.dialects import decode
from worker.core.record import JobRecord, LogRecord
from worker.web.api.job_filter import FilterDocument
from worker.web.api.republished import RepublishedDocument
from worker.web.dependencies import Here, Operator, Viewer, audit_entry
from worker.web.event_streams import MAX_FOLLOWERS, log_events
from worker.web.problems import Refused, responses

router = APIRouter(tags=["jobs"])

Name = Annotated[str, Field(min_length=1, max_length=128)]


class JobDocument(JobRecord):
    """A job, as `leveret job --json` prints it."""

    document: dict[str, Any] = Field(default_factory=dict, exclude=True)


class JobPage(BaseModel):
    """The newest jobs that match, and what asks for those after them."""

    jobs: list[JobDocument]
    next_cursor: str | None = None


class Submission(BaseModel):
    """A job that was submitted, and what its publisher should know."""

    job: JobDocument
    warnings: list[str] = Field(default_factory=list)


class CancelAnswer(BaseModel):
    """The state after the request: `cancelled`, or `running`: its worker stops it within seconds."""

    job_id: str
    state: str


def etag_of(record: JobRecord) -> str:
    """Return the version of a job's row, whatever the fleet does meanwhile."""
    document = record.model_dump_json(exclude={"document", "waits"})
    return f'"{hashlib.sha256(document.encode()).hexdigest()[:20]}"'


def document_of(record: JobRecord) -> JobDocument:
    """Return a job as the API shows it."""
    return JobDocument.model_construct(**dict(record))


@router.get("/jobs", summary="List jobs, newest first")
async def get_jobs(
    here: Here,
    _: Viewer,
    chosen: Annotated[FilterDocument, Query()],
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    details: Annotated[bool, Query(description="With attempts and artifacts.")] = False,
) -> JobPage:
    """Return a page of jobs."""
    page = await list_jobs(here.control, chosen.chosen(), limit=limit, cursor=cursor, details=details)
    return JobPage(jobs=[document_of(record) for record in page.jobs], next_cursor=page.next_cursor)


JSON_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "A message in any accepted dialect; docs/reference/message.md.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.post(
    "/jobs", status_code=201, summary="Submit a job", openapi_extra=JSON_BODY, responses={200: {"model": Submission}}
)
async def post_job(
    request: Request,
    response: Response,
    here: Here,
    who: Operator,
    lane: Annotated[Lane | None, Query(description="Overrides the message's own.")] = None,
    priority: Annotated[Priority | None, Query(description="Overrides the message's own.")] = None,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Submission:
    """Return the job; the same `Idempotency-Key` with the same message gets the same job, submitted once."""
    body = await request.body()
    job_id = None
    if idempotency_key:
        job_id = hashlib.sha256(f"{who.name}\0{idempotency_key}".encode()).hexdigest()[:32]
    async with audit_entry(request, "job.submit", "") as noted:
        try:
            found = await submit(here.control, body, lane=lane, priority=priority, job_id=job_id)
        except IdReused:
            record = await _same_job(here, body, job_id) if idempotency_key else None
            if record is None:
                raise
            response.status_code = 200
            noted["repeated"] = record.job_id
            return Submission(job=document_of(record))
        noted["job_id"] = found.record.job_id
        response.headers["Location"] = str(request.url_for("get_job", job_id=found.record.job_id).path)
        response.headers["ETag"] = etag_of(found.record)
        return Submission(job=document_of(found.record), warnings=list(found.warnings))


async def _same_job(here: Here, body: bytes, job_id: str | None) -> JobRecord | None:
    """Return the job that the same request made before; None when its id belongs to another document."""
    job = decode(body, job_id)
    record = await here.control.stores.job(job.job_id)
    return record if record is not None and record.document == job.document() else None


@router.get(
    "/jobs/{job_id}",
    summary="Look at a job",
    response_model=JobDocument,
    responses=responses(404, _304={"description": "Not changed"}),
)
async def get_job(
    here: Here,
    _: Viewer,
    response: Response,
    job_id: Name,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Any:
    """Return all that is known of a job; its id may be cut to its first characters."""
    record = await find_job(here.control, job_id)
    response.headers["ETag"] = etag_of(record)
    if if_none_match and etag_of(record) in {part.strip() for part in if_none_match.split(",")}:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag_of(record)})
    return document_of(record)


@router.get("/jobs/{job_id}/message", summary="The message of a job, without its secrets", responses=responses(404))
async def get_message(here: Here, _: Viewer, job_id: Name) -> dict[str, Any]:
    """Return the document that ran, to be run again with changes."""
    return (await find_job(here.control, job_id)).document


@router.post("/jobs/{job_id}/cancel", summary="Cancel a job", responses=responses(404, 412))
async def post_cancel(
    request: Request,
    here: Here,
    _: Operator,
    job_id: Name,
    unseen: Annotated[bool, Query(description="Cancel a message that no worker has seen yet.")] = False,
    if_match: Annotated[str | None, Header(max_length=200)] = None,
) -> CancelAnswer:
    """Return the state after the request."""
    await _require_match(here, job_id, if_match)
    async with audit_entry(request, "job.cancel", job_id):
        asked = await cancel_job(here.control, job_id, unseen=unseen)
    return CancelAnswer(job_id=asked.job_id, state=asked.state)


@router.post("/jobs/{job_id}/retry", summary="Run a dead or cancelled job again", responses=responses(404, 412))
async def post_retry(
    request: Request,
    here: Here,
    _: Operator,
    job_id: Name,
    if_match: Annotated[str | None, Header(max_length=200)] = None,
) -> RepublishedDocument:
    """Return what was published again; a retrying job is tried at once."""
    await _require_match(here, job_id, if_match)
    async with audit_entry(request, "job.retry", job_id):
        done = await retry_job(here.control, job_id)
    return RepublishedDocument.of(done)


async def _require_match(here: Here, job_id: str, if_match: str | None) -> None:
    if not if_match or if_match.strip() == "*":
        return
    if etag_of(await find_job(here.control, job_id)) not in {part.strip() for part in if_match.split(",")}:
        raise Refused(HTTPStatus.PRECONDITION_FAILED, f"the job {job_id} has changed since you looked")


@router.get(
    "/jobs/{job_id}/log",
    summary="What the tools of a job wrote",
    response_model=LogRecord,
    responses=responses(404, _200={"content": {"text/plain": {"schema": {"type": "string"}}}}),
)
async def get_log(
    request: Request,
    here: Here,
    _: Viewer,
    job_id: Name,
    attempt: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
) -> Any:
    """Return the log of the newest attempt, or of the newest with that number; as text where text is asked for."""
    found = await job_log(here.control, (await find_job(here.control, job_id)).job_id, attempt)
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(found.text)
    return found


@router.get(
    "/jobs/{job_id}/log/stream",
    summary="Follow what the tools of a job write (SSE)",
    response_class=StreamingResponse,
    responses=responses(404, _200={"content": {"text/event-stream": {"schema": {"type": "string"}}}}),
)
async def stream_log(here: Here, _: Viewer, job_id: Name) -> StreamingResponse:
    """Send what is written until the job has ended."""
    if here.followers >= MAX_FOLLOWERS:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{here.followers} logs are followed already")
    record = await find_job(here.control, job_id)
    events: AsyncIterator[bytes] = log_events(here, record.job_id)
    return StreamingResponse(events, media_type="text/event-stream")
