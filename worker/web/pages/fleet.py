"""The workers: what each can do, what its host measures, what it did; pause, resume, drain."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from worker.control.query import list_jobs
from worker.control.steer import forget_worker, list_workers, steer_fleet, steer_worker
from worker.core.errors import LeveretError
from worker.core.listing import JobFilter
from worker.core.record import serving
from worker.web.api.workers import WANTED, known_worker
from worker.web.chart import chart_of
from worker.web.dependencies import audit_entry, services_of
from worker.web.pages.rendering import act, draw, login_redirect, refusal

router = APIRouter()

SAMPLES = 240
LAST_JOBS = 20


@router.get("/fleet")
async def get_fleet(request: Request) -> Response:
    """Draw all workers."""
    if away := login_redirect("viewer", request):
        return away
    try:
        workers = await list_workers(services_of(request).control)
    except LeveretError as error:
        return draw(request, "fleet.html", here="/fleet", workers=(), served={}, problems=[str(error)])
    return draw(request, "fleet.html", here="/fleet", workers=workers, served=serving(workers))


@router.get("/fleet/{worker_id}")
async def get_worker(request: Request, worker_id: str) -> Response:
    """Draw one worker."""
    if away := login_redirect("viewer", request):
        return away
    here = services_of(request)
    try:
        worker = await known_worker(here, worker_id)
        samples, page = await asyncio.gather(
            here.views.samples(worker_id, SAMPLES),
            list_jobs(here.control, JobFilter(worker=worker_id), limit=LAST_JOBS),
        )
    except LeveretError as error:
        return refusal(request, error, "/fleet")
    return draw(request, "worker.html", here="/fleet", worker=worker, chart=chart_of(samples), jobs=page.jobs)


@router.post("/fleet/{worker_id}")
async def post_worker(
    request: Request, worker_id: str, command: Annotated[str, Form(pattern="^(pause|resume|drain|forget)$")]
) -> Response:
    """Ask a worker for something; `-` means all of them."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        if worker_id == "-":
            async with audit_entry(request, f"fleet.{command}", "all"):
                asked = await steer_fleet(control, WANTED[command])
            return "/fleet", f"{len(asked)} workers are asked to {command}."
        async with audit_entry(request, f"worker.{command}", worker_id):
            if command == "forget":
                await forget_worker(control, worker_id)
                return "/fleet", f"{worker_id} is forgotten."
            await steer_worker(control, worker_id, WANTED[command])
        return f"/fleet/{worker_id}", f"{worker_id} is asked to {command}; it follows with its next heartbeat."

    return await act(request, "operator", work, back="/fleet")
