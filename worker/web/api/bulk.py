"""Many jobs at once over the API: all that match a filter are counted first, then cancelled or retried."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from worker.control.jobs import cancel_job, retry_job
from worker.control.query import matching_jobs
from worker.core.errors import LeveretError
from worker.web.api.job_filter import FilterDocument
from worker.web.dependencies import Here, Operator, audit_entry
from worker.web.problems import Refused

router = APIRouter(tags=["jobs"])

MAX_AT_ONCE: Final = 1000


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
