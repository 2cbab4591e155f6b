"""Jobs over the API: list, submit, look, cancel, retry, many at once, logs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from worker.control.jobs import cancel_job, retry_job
from worker.control.query import find_job, job_log, list_jobs, matching_jobs
from worker.control.submit import submit
from worker.core.errors import IdReused, InvalidJob, LeveretError, Problem
from worker.core.job import Lane, Priority
from worker.core.listing import JobFilter
from worker.core.message.dialects import decode
from worker.core.record import JobRecord, LogRecord, State
from worker.web.api.republished import RepublishedDocument
from worker.web.dependencies import Here, Operator, Viewer, audit_entry
from worker.web.event_streams import MAX_FOLLOWERS, log_events
from worker.web.problems import Refused, responses

router = APIRouter(tags=["jobs"])

MAX_AT_ONCE: Final = 1000
AGE_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
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


class FilterDocument(BaseModel):
    """A filter of jobs; every field that is given must match."""

    state: State | None = None
    lane: Lane | None = None
    worker: str | None = Field(None, max_length=200, description="One that had the job.")
    module: str | None = Field(None, max_length=100, description="One that its tasks name.")
    text: str | None = Field(None, max_length=200, description="A part of its title or id, in any case.")
    since: str | None = Field(None, max_length=40, description="No older: 90s, 5m, 2h, 3d, or a time in ISO 8601.")
    until: str | None = Field(None, max_length=40, description="No newer.")

    def chosen(self) -> JobFilter:
        """Return the filter; InvalidJob for a time that is none."""
        return JobFilter(
            state=self.state,
            lane=self.lane,
            worker=_storable(self.worker, "worker"),
            module=_storable(self.module, "module"),
            text=_storable(self.text, "text"),
            since=time_in(self.since, "since"),
            until=time_in(self.until, "until"),
        )


class BulkRequest(BaseModel):
    """The action for every job that matches, and how many the asker expects: ask with `dry_run` first."""

    action: Literal["cancel", "retry"]
    filter: FilterDocument
    dry_run: bool = Field(True, description="Only count.")
    expected: int | None = Field(None, ge=0, description="How many were counted; 409 when it is another number now.")


class BulkAnswer(BaseModel):
    """The number of jobs that match and, unless it was a dry run, what was done with them."""

    matching: int
    done: int = 0
    refused: list[str] = Field(default_factory=list)
    more: bool = Field(False, description=f"Whether more than {MAX_AT_ONCE} match; the rest needs another request.")


def _storable(text: str | None, path: str) -> str | None:
    if text is not None and ("\x00" in text or not text.isprintable()):
        raise InvalidJob([Problem(path, "holds control characters")])
    return text or None


def time_in(text: str | None, path: str) -> datetime | timedelta | None:
    """Return the time or the age that `text` says; InvalidJob for anything else."""
    if not text:
        return None
    number, unit = text[:-1], text[-1:]
    if number.isascii() and number.isdigit() and len(number) <= 9 and unit in AGE_UNITS:  # noqa: PLR2004 - thirty years in seconds
        try:
            return timedelta(seconds=int(number) * AGE_UNITS[unit])
        except OverflowError as error:
            raise InvalidJob([Problem(path, f"{text!r} is longer ago than there are years")]) from error
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidJob([Problem(path, f"{text[:40]!r} is neither an age (90s, 5m, 2h, 3d) nor a time")]) from error
    if found.tzinfo is None or not 1970 <= found.year <= 9998:  # noqa: PLR2004 - what every database can hold
        raise InvalidJob([Problem(path, "a time needs its zone, and a year from 1970 on: 2026-11-27T06:00:00Z")])
    return found


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


@router.post("/jobs/bulk", summary="Cancel or retry every job that matches, counted first")
async def post_bulk(request: Request, here: Here, _: Operator, asked: BulkRequest) -> BulkAnswer:
    """Return how many match; with `dry_run` false and `expected` that number, do it."""
    ids = [record.job_id async for record in matching_jobs(here.control, asked.filter.chosen(), limit=MAX_AT_ONCE + 1)]
    more, ids = len(ids) > MAX_AT_ONCE, ids[:MAX_AT_ONCE]
    if asked.dry_run:
        return BulkAnswer(matching=len(ids), more=more)
    if asked.expected != len(ids):
        raise Refused(HTTPStatus.CONFLICT, f"{len(ids)} jobs match now, and {asked.expected} were expected: look again")
    conditions = asked.filter.model_dump(exclude_none=True)
    async with audit_entry(
        request, f"jobs.{asked.action}", "", filter=json.dumps(conditions), matching=len(ids)
    ) as noted:
        done, refused = await act_on(here, asked.action, ids)
        noted["done"] = done
    return BulkAnswer(matching=len(ids), done=done, refused=refused[:100], more=more)


async def act_on(here: Here, action: str, ids: list[str]) -> tuple[int, list[str]]:
    """Return how many jobs were cancelled or retried, and why others were not."""
    done, refused = 0, []
    for job_id in ids:
        try:
            await (cancel_job if action == "cancel" else retry_job)(here.control, job_id)
        except LeveretError as error:
            refused.append(str(error))
        else:
            done += 1
    return done, refused


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
