"""Dead letters over the API: list, show, replay, purge. Looking never loses one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from worker.control.dead_letters import list_dead, show_dead
from worker.control.replay import purge_all, purge_dead, replay_all, replay_dead
from worker.core.routing import DEAD_QUEUE
from worker.core.views import DeadPage, DeadWhole
from worker.web.api.republished import RepublishedDocument
from worker.web.dependencies import Admin, Here, Operator, Viewer, audit_entry
from worker.web.problems import Refused, responses

router = APIRouter(tags=["dead letters"])

Name = Annotated[str, Field(min_length=1, max_length=200)]


class ReplayAnswer(BaseModel):
    """The messages that were published again, and why the rest was left dead."""

    replayed: int
    published: list[RepublishedDocument] = Field(default_factory=list)
    refused: list[str] = Field(default_factory=list)


class PurgeAnswer(BaseModel):
    """The number of messages that were deleted for good."""

    purged: int


@router.get("/dead", summary="List the dead messages, newest first")
async def get_dead(here: Here, _: Viewer, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> DeadPage:
    """Return the newest dead messages."""
    found = await list_dead(here.control, limit)
    return DeadPage(messages=[message.summary() for message in found.messages], count=found.count)


@router.get("/dead/{name:path}", summary="Look at a dead message", responses=responses(404))
async def get_one(here: Here, _: Operator, name: Name) -> DeadWhole:
    """Return one by its job's id, its message's id or the first digits of its body's SHA-256."""
    return (await show_dead(here.control, name)).whole()


@router.post("/dead/replay", summary="Publish every dead message again")
async def post_replay_all(
    request: Request, here: Here, _: Operator, expected: Annotated[int, Query(ge=0, description="How many there are.")]
) -> ReplayAnswer:
    """Return what was published again; `expected` must be how many there are now."""
    await _require_count(here, expected)
    async with audit_entry(request, "dead.replay", "all") as noted:
        done = await replay_all(here.control)
        noted["replayed"] = len(done.published)
    published = [RepublishedDocument.of(one) for one in done.published]
    return ReplayAnswer(replayed=len(published), published=published, refused=list(done.refused))


@router.post("/dead/{name:path}/replay", summary="Publish a dead message again", responses=responses(404))
async def post_replay(request: Request, here: Here, _: Operator, name: Name) -> ReplayAnswer:
    """Return that it was published; a JSON body goes out in place of a wrong one."""
    body = await request.body()
    async with audit_entry(request, "dead.replay", name, replaced=bool(body)):
        done = await replay_dead(here.control, name, body or None)
    return ReplayAnswer(replayed=1, published=[RepublishedDocument.of(done)])


@router.delete("/dead", summary="Delete every dead message for good")
async def delete_all(
    request: Request, here: Here, _: Admin, expected: Annotated[int, Query(ge=0, description="How many there are.")]
) -> PurgeAnswer:
    """Return how many were deleted; `expected` must be how many there are now."""
    await _require_count(here, expected)
    async with audit_entry(request, "dead.purge", "all") as noted:
        noted["purged"] = count = await purge_all(here.control)
    return PurgeAnswer(purged=count)


@router.delete("/dead/{name:path}", summary="Delete a dead message for good", responses=responses(404))
async def delete_one(request: Request, here: Here, _: Admin, name: Name) -> PurgeAnswer:
    """Return that it was deleted."""
    async with audit_entry(request, "dead.purge", name):
        count = await purge_dead(here.control, name)
    return PurgeAnswer(purged=count)


async def _require_count(here: Here, expected: int) -> None:
    async with here.control.broker() as broker:
        count = await broker.count(DEAD_QUEUE)
    if count != expected:
        raise Refused(HTTPStatus.CONFLICT, f"{count} messages are dead now, and {expected} were expected: look again")
