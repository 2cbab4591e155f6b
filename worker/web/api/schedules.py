"""Schedules over the API."""

from __future__ import annotations

import os
import secrets
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from worker.control.intake.schedules import (
    delete_schedule,
    get_schedule,
    list_schedules,
    pause_schedule,
    put_schedule,
    run_schedule,
)
from worker.core.errors import InvalidJob, Problem
from worker.core.message.wire import parse
from worker.core.schedule import ScheduleRecord
from worker.web.api.bodies import BODY
from worker.web.dependencies import Admin, Here, Operator, Viewer, audit_entry
from worker.web.problems import responses
from worker.web.streaming import RESPONSE, Lines, stream_lines

router = APIRouter(tags=["schedules"])

Name = Annotated[str, Field(min_length=1, max_length=64)]


@router.get("/schedules", summary="List the schedules")
async def get_all(here: Here, _: Viewer) -> list[ScheduleRecord]:
    """Return the schedules by name: when each runs next, and how its last run went."""
    return await list_schedules(here.control)


@router.get("/schedules/{name}", summary="Look at a schedule", responses=responses(404))
async def get_one(here: Here, _: Viewer, name: Name) -> ScheduleRecord:
    """Return a schedule."""
    return await get_schedule(here.control, name)


@router.put("/schedules/{name}", summary="Store a schedule", openapi_extra=BODY, responses=responses(404))
async def put_one(request: Request, here: Here, _: Admin, name: Name) -> ScheduleRecord:
    """Check a schedule, and store it; a server runs it when it is due."""
    async with audit_entry(request, "schedule.put", name):
        return await put_schedule(here.control, name, parse(await request.body()))


@router.post("/schedules/{name}/pause", summary="Let a schedule not run by itself", responses=responses(404))
async def pause_one(request: Request, here: Here, _: Operator, name: Name) -> ScheduleRecord:
    """Return the schedule, which runs by itself no more."""
    async with audit_entry(request, "schedule.pause", name):
        return await pause_schedule(here.control, name, paused=True)


@router.post("/schedules/{name}/resume", summary="Let a schedule run by itself again", responses=responses(404))
async def resume_one(request: Request, here: Here, _: Operator, name: Name) -> ScheduleRecord:
    """Return the schedule, which is due next at its first time after now."""
    async with audit_entry(request, "schedule.resume", name):
        return await pause_schedule(here.control, name, paused=False)


@router.delete("/schedules/{name}", status_code=204, summary="Delete a schedule", responses=responses(404))
async def delete_one(request: Request, here: Here, _: Admin, name: Name) -> None:
    """Delete a schedule."""
    if not name.isprintable():
        raise InvalidJob([Problem("name", "holds control characters")])
    async with audit_entry(request, "schedule.delete", name):
        await delete_schedule(here.control, name)


@router.post(
    "/schedules/{name}/run", summary="Run a schedule now", response_class=StreamingResponse,
    responses=responses(404) | RESPONSE,
)  # fmt: skip
async def post_run(request: Request, here: Here, _: Operator, name: Name) -> StreamingResponse:
    """Send `outcome` once it has run; who goes away ends it, and what was submitted stays."""
    await get_schedule(here.control, name)

    async def work(lines: Lines) -> None:
        async with audit_entry(request, "schedule.run", name) as noted:
            owner = f"{here.settings.hostname} {os.getpid()} {secrets.token_hex(4)}"
            noted["outcome"] = await run_schedule(here.control, name, owner)
            await lines.add("outcome", noted["outcome"])

    return stream_lines(here, work)
