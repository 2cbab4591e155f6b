"""The list of jobs: filters, pages, and what is done with all that match."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from worker.control.query import list_jobs, matching_jobs
from worker.control.steer import list_workers
from worker.core.errors import LeveretError
from worker.web.api.bulk import MAX_AT_ONCE, BulkAnswer, act_on
from worker.web.api.job_filter import FilterDocument
from worker.web.dependencies import audit_entry, services_of
from worker.web.pages.rendering import draw, login_redirect

router = APIRouter()

PAGE = 50
FIELDS = ("state", "lane", "worker", "module", "text", "since", "until")


def filter_of(query: Any) -> FilterDocument:
    """Return the filter that a form says; a field that is left empty or is no choice filters nothing."""
    given = {name: query.get(name) for name in FIELDS if query.get(name)}
    try:
        return FilterDocument.model_validate(given)
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        return FilterDocument.model_validate({name: value for name, value in given.items() if name not in wrong})


@router.get("/jobs")
async def get_jobs(request: Request, cursor: Annotated[str | None, Query(max_length=1000)] = None) -> Response:
    """Draw a page of jobs."""
    if away := login_redirect("viewer", request):
        return away
    here = services_of(request)
    chosen = filter_of(request.query_params)
    conditions = chosen.model_dump(exclude_none=True)
    values: dict[str, Any] = {"here": "/jobs", "asked": dict.fromkeys(FIELDS, "") | conditions, "chosen": conditions}
    values["first"] = cursor is None
    try:
        page = await list_jobs(here.control, chosen.chosen(), limit=PAGE, cursor=cursor)
        workers = [worker.worker_id for worker in await list_workers(here.control)]
    except LeveretError as error:
        return draw(request, "jobs.html", problems=[str(error)], jobs=(), next=None, workers=(), modules=(), **values)
    modules = sorted(here.registry.tasks)
    return draw(request, "jobs.html", jobs=page.jobs, next=page.next_cursor, workers=workers, modules=modules, **values)


@router.post("/jobs/bulk")
async def post_bulk(
    request: Request,
    action: Annotated[str, Form(pattern="^(cancel|retry)$")],
    chosen: Annotated[str, Form(max_length=4000)] = "{}",
    expected: Annotated[int | None, Form(ge=0)] = None,
) -> Response:
    """Say how many jobs match and ask; when the answer says the same number, do it."""
    if away := login_redirect("operator", request):
        return away
    here = services_of(request)
    try:
        given = json.loads(chosen)
    except ValueError:
        given = {}
    wanted = filter_of(given if isinstance(given, dict) else {})
    found = [record async for record in matching_jobs(here.control, wanted.chosen(), limit=MAX_AT_ONCE + 1)]
    ids = [record.job_id for record in found][:MAX_AT_ONCE]
    kept = wanted.model_dump(exclude_none=True)
    if expected is None or expected != len(ids):
        return draw(
            request, "bulk.html", here="/jobs", action=action, chosen=kept, count=len(ids), more=len(found) > len(ids),
            some=found[:10], changed=expected is not None,
        )  # fmt: skip
    async with audit_entry(request, f"jobs.{action}", "", filter=json.dumps(kept), matching=len(ids)) as noted:
        done, refused = await act_on(here, action, ids)
        noted["done"] = done
    answer = BulkAnswer(matching=len(ids), done=done, refused=refused)
    return draw(request, "bulk_done.html", here="/jobs", action=action, answer=answer, chosen=kept)
