"""The fleet over the API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from worker.control.fleet import fleet_rows, unserved_lanes
from worker.control.steer import forget_silent_workers, forget_worker, list_workers, steer_fleet, steer_worker
from worker.core.hints import nearest
from worker.core.record import Wanted, WorkerRecord
from worker.core.views import LaneDepth, Sample
from worker.web.api.jobs import JobDocument, document_of
from worker.web.dependencies import Here, Operator, Viewer, audit_entry
from worker.web.problems import Refused, responses

router = APIRouter(tags=["fleet"])

Command = Literal["pause", "resume", "drain"]
WANTED: Final[dict[str, Wanted]] = {"pause": "pause", "resume": "run", "drain": "drain"}
Name = Annotated[str, Field(min_length=1, max_length=200)]


class SteerAnswer(BaseModel):
    """The workers that were asked, and what for; each follows with its next heartbeat."""

    wanted: str
    workers: list[str]


class Queues(BaseModel):
    """The waiting work: messages by queue as the broker counts them, jobs by lane and priority as the database does."""

    messages: dict[str, int]
    problem: str = Field("", description="Why the broker could not be asked.")
    jobs: list[LaneDepth]
    unserved: dict[str, int] = Field(description="How many jobs wait in lanes that no living worker serves.")


@router.get("/workers", summary="List the workers")
async def get_workers(here: Here, _: Viewer) -> list[WorkerRecord]:
    """Return the workers by name."""
    return await list_workers(here.control)


async def known_worker(here: Here, worker_id: str) -> WorkerRecord:
    """Return one worker; 404 names the nearest."""
    fleet = await list_workers(here.control)
    for worker in fleet:
        if worker.worker_id == worker_id:
            return worker
    near = nearest(worker_id, [worker.worker_id for worker in fleet])
    raise Refused(HTTPStatus.NOT_FOUND, f"there is no worker {worker_id!r}{near}")


@router.get("/workers/{worker_id}", summary="Look at a worker", responses=responses(404))
async def get_worker(here: Here, _: Viewer, worker_id: Name) -> WorkerRecord:
    """Return one worker."""
    return await known_worker(here, worker_id)


@router.get("/workers/{worker_id}/samples", summary="What a worker measured of its host")
async def get_samples(
    here: Here, _: Viewer, worker_id: Name, limit: Annotated[int, Query(ge=1, le=3000)] = 240
) -> list[Sample]:
    """Return its newest samples, oldest first; they are taken while the server runs."""
    return await here.views.samples(worker_id, limit)


@router.post("/workers/{command}", summary="Pause, resume or drain every worker")
async def post_fleet(request: Request, here: Here, _: Operator, command: Command) -> SteerAnswer:
    """Return which workers were asked."""
    async with audit_entry(request, f"fleet.{command}", "all") as noted:
        asked = await steer_fleet(here.control, WANTED[command])
        noted["workers"] = len(asked)
    return SteerAnswer(wanted=WANTED[command], workers=asked)


@router.post("/workers/{worker_id}/{command}", summary="Pause, resume or drain a worker", responses=responses(404))
async def post_worker(request: Request, here: Here, _: Operator, worker_id: Name, command: Command) -> SteerAnswer:
    """Return the worker that was asked."""
    async with audit_entry(request, f"worker.{command}", worker_id):
        asked = await steer_worker(here.control, worker_id, WANTED[command])
    return SteerAnswer(wanted=WANTED[command], workers=asked)


@router.delete("/workers/{worker_id}", summary="Forget an offline worker", responses=responses(404))
async def delete_worker(request: Request, here: Here, _: Operator, worker_id: Name) -> SteerAnswer:
    """Return the worker that was forgotten."""
    async with audit_entry(request, "worker.forget", worker_id):
        gone = await forget_worker(here.control, worker_id)
    return SteerAnswer(wanted="forget", workers=gone)


@router.delete("/workers", summary="Forget the workers that were silent for long")
async def delete_silent(
    request: Request,
    here: Here,
    _: Operator,
    silent: Annotated[float, Query(ge=0, le=1e9, description="For so many seconds, three heartbeats at least.")],
) -> SteerAnswer:
    """Return the workers that were forgotten."""
    async with audit_entry(request, "fleet.forget", "all") as noted:
        gone = await forget_silent_workers(here.control, silent)
        noted["workers"] = len(gone)
    return SteerAnswer(wanted="forget", workers=gone)


class FleetDocument(BaseModel):
    """The fleet at a glance: how many jobs are in each state, the workers, and the jobs at which something happens."""

    counts: dict[str, int]
    workers: list[WorkerRecord]
    jobs: list[JobDocument]


@router.get("/fleet", summary="The fleet at a glance")
async def get_fleet(
    here: Here, _: Viewer, most: Annotated[int, Query(ge=1, le=1000, description="Jobs of each state.")] = 200
) -> FleetDocument:
    """Return what `leveret watch` shows, without the queues."""
    found = await fleet_rows(here.control, most)
    jobs = [document_of(record) for record in found.jobs]
    return FleetDocument(counts=dict(found.counts), workers=list(found.workers), jobs=jobs)


@router.get("/queues", summary="What waits")
async def get_queues(here: Here, _: Viewer) -> Queues:
    """Return the depths; what the broker cannot say, the database still does."""
    messages, problem = await here.depths.now()
    fleet = await list_workers(here.control)
    return Queues(
        messages=messages,
        problem=problem,
        jobs=await here.views.depths(),
        unserved=await unserved_lanes(here.control, fleet),
    )
