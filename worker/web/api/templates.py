"""Templates over the API: stored, tried, and made into jobs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from worker.control.intake.batches import Batch, Count, Report, count, count_batch, expand, submit_all, submit_batch
from worker.control.intake.blueprint import Skip
from worker.control.intake.templates import (
    blueprint_of,
    delete_template,
    get_template,
    list_templates,
    put_template,
    render,
    tried_template,
)
from worker.core.errors import InvalidJob, Problem
from worker.core.job import Lane, Priority
from worker.core.message.wire import parse
from worker.core.pattern import Pattern
from worker.core.template import StoredTemplate
from worker.web.api.bodies import BODY
from worker.web.dependencies import Admin, Here, Operator, Viewer, audit_entry
from worker.web.problems import responses
from worker.web.streaming import RESPONSE, Lines, stream_lines

router = APIRouter(tags=["templates"])

MOST: Final = 1000
Name = Annotated[str, Field(min_length=1, max_length=64)]
Uri = Annotated[str, Field(min_length=1, max_length=4096)]
Values = Annotated[dict[str, Annotated[str, Field(max_length=4000)]], Field(max_length=50)]


class TryRequest(BaseModel):
    """A source, and values of the template's variables."""

    source: Uri | None = None
    variables: Values = Field(default_factory=dict)
    document: Any = Field(None, description="A template that is tried in place of the stored one.")


class TryAnswer(BaseModel):
    """The job that would be made, or why none would."""

    template: str
    version: int
    source: str = ""
    job: dict[str, Any] | None = None
    variables: dict[str, str] = Field(default_factory=dict)
    reason: str | None = None


class MakeRequest(BaseModel):
    """Sources and patterns, and what is done with them."""

    sources: list[Uri] = Field(min_length=1, max_length=MOST, description="URIs, or patterns: nas://in/**/*.mkv")
    variables: Values = Field(default_factory=dict)
    dry_run: bool = Field(False, description="Only count.")
    again: bool = Field(False, description="Also what is done already.")
    limit: int = Field(MOST, ge=1, le=MOST, description="How many jobs are submitted at most; ask again for the rest.")
    lane: Lane | None = None
    priority: Priority | None = None


class BatchRequest(BaseModel):
    """Sources and patterns, without a bound: what becomes of each comes as a line."""

    sources: list[Uri] = Field(default_factory=list, max_length=MOST, description="None for a template without one.")
    variables: Values = Field(default_factory=dict)
    again: bool = Field(False, description="Also what is done already.")
    limit: int | None = Field(None, ge=1, description="How many jobs are submitted at most.")
    lane: Lane | None = None
    priority: Priority | None = None

    def batch(self, template: str) -> Batch:
        """Return what is asked for."""
        return Batch(template, tuple(self.sources), self.variables, self.again, self.limit, self.lane, self.priority)


class MadeDocument(BaseModel):
    """A job, and the source that it was made of."""

    job_id: str
    source: str


class LeftDocument(BaseModel):
    """A source of which no job was made, and why; `job_id` is the job that it was made into before."""

    source: str
    reason: str
    job_id: str | None = None


class CountDocument(BaseModel):
    """The meaning of a pattern."""

    files: int
    matching: int
    bytes: int
    done: int
    unreadable: int


class MakeAnswer(BaseModel):
    """The outcome of the sources: the numbers of all, and the first thousand of each kind."""

    template: str
    counted: list[CountDocument] = Field(default_factory=list)
    submitted: int = 0
    skipped: int = 0
    failed: int = 0
    jobs: list[MadeDocument] = Field(default_factory=list)
    left: list[LeftDocument] = Field(default_factory=list)
    faults: list[LeftDocument] = Field(default_factory=list)


@router.get("/templates", summary="List the templates")
async def get_all(here: Here, _: Viewer) -> list[StoredTemplate]:
    """Return the newest version of each template; those that are shipped are version 0."""
    return await list_templates(here.control)


@router.get("/templates/{name}", summary="Look at a template", responses=responses(404))
async def get_one(
    here: Here, _: Viewer, name: Name, version: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None
) -> StoredTemplate:
    """Return a template."""
    return await get_template(here.control, _storable(name), version)


@router.put("/templates/{name}", summary="Store the next version of a template", openapi_extra=BODY)
async def put_one(request: Request, here: Here, _: Admin, name: Name) -> StoredTemplate:
    """Check a template, and store it."""
    async with audit_entry(request, "template.put", name):
        return await put_template(here.control, name, parse(await request.body()))


@router.delete("/templates/{name}", status_code=204, summary="Delete a template", responses=responses(404))
async def delete_one(request: Request, here: Here, _: Admin, name: Name) -> None:
    """Delete a template; one that is shipped is itself again."""
    async with audit_entry(request, "template.delete", name):
        await delete_template(here.control, _storable(name))


@router.post("/templates/{name}/try", summary="Say what a template makes of a source", responses=responses(404))
async def post_try(here: Here, _: Operator, name: Name, asked: TryRequest) -> TryAnswer:
    """Return the job, without submitting it."""
    blueprint = await tried_template(here.control, _storable(name), asked.document)
    found = await render(here.control, blueprint, asked.source, asked.variables)
    if isinstance(found, Skip):
        return TryAnswer(template=blueprint.name, version=blueprint.version, reason=found.reason)
    return TryAnswer(
        template=found.template, version=found.version, source=found.source, job=found.document,
        variables=found.variables,
    )  # fmt: skip


@router.post("/templates/{name}/jobs", summary="Make a job of each source", responses=responses(404))
async def post_jobs(request: Request, here: Here, _: Operator, name: Name, asked: MakeRequest) -> MakeAnswer:
    """Return what became of the sources: submitted, skipped because they are done or conform, or failed."""
    blueprint = await blueprint_of(here.control, _storable(name))
    named = await expand(here.control, asked.sources)
    if asked.dry_run:
        counts = [
            await count(here.control, blueprint, one, asked.variables) for one in named if isinstance(one, Pattern)
        ]
        counted_here = [CountDocument.model_validate(one, from_attributes=True) for one in counts]
        return MakeAnswer(template=blueprint.name, counted=counted_here)
    report = Report()
    async with audit_entry(request, "template.submit", name) as noted:
        try:
            async for outcome in submit_all(
                here.control, blueprint, named, asked.variables, again=asked.again, limit=asked.limit,
                lane=asked.lane, priority=asked.priority,
            ):  # fmt: skip
                report.add(outcome)
        finally:
            noted |= {"submitted": report.submitted, "skipped": report.skipped, "failed": report.failed}
    return answer_of(blueprint.name, report)


@router.post(
    "/templates/{name}/count", summary="Count the sources", response_class=StreamingResponse,
    responses=responses(404) | RESPONSE,
)  # fmt: skip
async def post_count(here: Here, _: Operator, name: Name, asked: BatchRequest) -> StreamingResponse:
    """Send how many files match and are done: `progress` now and then, and `counted` at the end."""
    await get_template(here.control, _storable(name))

    async def work(lines: Lines) -> None:
        counted = await count_batch(
            here.control, asked.batch(name), lambda found: lines.show("progress", _count(found))
        )
        await lines.add("counted", {"named": counted.named, "patterns": [_count(one) for one in counted.patterns]})

    return stream_lines(here, work)


@router.post(
    "/templates/{name}/jobs/stream", summary="Make a job of each source, however many",
    response_class=StreamingResponse, responses=responses(404) | RESPONSE,
)  # fmt: skip
async def post_stream(request: Request, here: Here, _: Operator, name: Name, asked: BatchRequest) -> StreamingResponse:
    """Send what becomes of each source: `made`, `skipped` or `failed`. Who goes away ends it; what was made stays."""
    await get_template(here.control, _storable(name))

    async def work(lines: Lines) -> None:
        report = Report()
        async with audit_entry(request, "template.submit", name) as noted:
            try:
                async for outcome in submit_batch(here.control, asked.batch(name)):
                    report.add(outcome)
                    await lines.add(type(outcome).__name__.lower(), asdict(outcome))
            finally:
                noted |= {"submitted": report.submitted, "skipped": report.skipped, "failed": report.failed}

    return stream_lines(here, work)


def _count(found: Count) -> dict[str, int]:
    return CountDocument.model_validate(found, from_attributes=True).model_dump()


def answer_of(template: str, report: Report) -> MakeAnswer:
    """Return a report as a document."""
    return MakeAnswer(
        template=template,
        submitted=report.submitted,
        skipped=report.skipped,
        failed=report.failed,
        jobs=[MadeDocument(job_id=one.job_id, source=one.source) for one in report.made],
        left=[LeftDocument(source=one.source, reason=one.reason, job_id=one.job_id) for one in report.left],
        faults=[LeftDocument(source=one.source, reason=one.reason) for one in report.faults],
    )


def _storable(name: str) -> str:
    if not name.isprintable():
        raise InvalidJob([Problem("name", "holds control characters")])
    return name
