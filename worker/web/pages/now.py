"""The home: what the fleet does now, what waits and why, what came out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from worker.control.steer import list_workers
from worker.core.errors import LeveretError
from worker.core.listing import JobFilter
from worker.core.routing import DEAD_QUEUE, LANES
from worker.web.dependencies import services_of
from worker.web.formats import sentence
from worker.web.pages.rendering import draw, login_redirect
from worker.web.waits import why_it_waits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.record import JobRecord, WorkerRecord
    from worker.core.views import LaneDepth, WaitingJob
    from worker.web.services import Services

router = APIRouter()

MAX_LIVE = 200
MAX_WAITING = 25
MAX_RESULTS = 8


@router.get("/")
async def get_now(request: Request) -> Response:
    """Draw the home."""
    if away := login_redirect("viewer", request):
        return away
    here = services_of(request)
    try:
        seen = await _look(here)
        problems: list[str] = []
    except LeveretError as error:
        seen, problems = (
            _empty_view(),
            [f"{sentence(error)} Running jobs continue, and this page recovers by itself."],
        )
    depths, trouble = await here.depths.now()
    if trouble:
        problems.append(f"{sentence(trouble)} What the database knows is shown; nothing can be submitted meanwhile.")
    return draw(request, "now.html", here="/", dead=depths.get(DEAD_QUEUE), problems=problems, **seen)


def _empty_view() -> dict[str, Any]:
    return {
        "fleet": [],
        "lost": [],
        "divided": [],
        "more_divided": 0,
        "running": {},
        "made_parts": (),
        "waiting": [],
        "more": 0,
        "results": [],
        "counts": {},
        "depths": {},
        "waiting_parts": 0,
        "parts_of": 0,
        "gone": [],
    }


async def _look(here: Services) -> dict[str, Any]:
    fleet, counts, depths, waiting, results, running = await asyncio.gather(
        list_workers(here.control),
        here.control.stores.counts(),
        here.views.depths(),
        here.views.waiting(MAX_WAITING),
        here.views.results(MAX_RESULTS),
        _in_states(here, "running", "publishing", "waiting"),
    )
    alive = [worker for worker in fleet if worker.status != "offline"]
    busy = {worker.job_id for worker in alive}
    known = {job.job_id: job for job in running}
    made: dict[str, JobRecord] = {}
    if others := {worker.job_id for worker in alive if worker.job_id} - known.keys():
        made = {part.job_id: part for part in await here.views.parts(others)}
    divided = [job for job in running if job.state == "waiting"]
    waits = [(one, why) for one, why in zip(waiting, reasons(waiting, fleet), strict=True)]
    return {
        "fleet": alive,
        "lost": [job for job in running if job.job_id not in busy and job.state != "waiting"][:20],
        "divided": divided[:MAX_RESULTS],
        "more_divided": counts.get("waiting", 0) - len(divided[:MAX_RESULTS]),
        "gone": [worker for worker in fleet if worker.status == "offline"],
        "running": known | made,
        "made_parts": made.keys(),
        "waiting": waits,
        "more": counts.get("queued", 0) + counts.get("retrying", 0) - len(waits),
        "results": results,
        "counts": counts,
        "depths": _table(depths),
        "waiting_parts": sum(one.parts for one in depths),
        "parts_of": sum(one.divided for one in depths),
    }


async def _in_states(here: Services, *states: str) -> list[JobRecord]:
    found: list[JobRecord] = []
    for state in states:
        found += (await here.control.stores.page(JobFilter(state), MAX_LIVE)).jobs
    return found


def reasons(waiting: Sequence[WaitingJob], fleet: Sequence[WorkerRecord]) -> list[str]:
    """Return why each of these jobs waits; they are in the order in which they are taken."""
    ahead: dict[str, int] = {}
    found = []
    for one in waiting:
        found.append(why_it_waits(one, fleet, ahead.get(one.job.lane, 0)))
        if not one.due_seconds:
            ahead[one.job.lane] = ahead.get(one.job.lane, 0) + 1
    return found


def _table(depths: Sequence[LaneDepth]) -> dict[str, dict[str, LaneDepth]]:
    """Return lane → priority → how many wait, of those lanes where some do."""
    found: dict[str, dict[str, LaneDepth]] = {}
    for one in depths:
        found.setdefault(one.lane, {})[one.priority] = one
    return {lane: found[lane] for lane in (*LANES, *sorted(set(found) - set(LANES))) if lane in found}
