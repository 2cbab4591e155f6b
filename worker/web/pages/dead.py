"""Dead letters: why, and what now."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from worker.control.dead_letters import list_dead
from worker.control.replay import purge_all, purge_dead, replay_all, replay_dead
from worker.core.errors import LeveretError
from worker.core.routing import DEAD_QUEUE
from worker.web.dependencies import audit_entry, services_of
from worker.web.pages.rendering import act, draw, login_redirect
from worker.web.problems import Refused

router = APIRouter()

MOST = 100
EXCERPT = 1200


@router.get("/dead")
async def get_dead(request: Request) -> Response:
    """Draw the newest dead letters."""
    if away := login_redirect("viewer", request):
        return away
    try:
        found = await list_dead(services_of(request).control, MOST)
    except LeveretError as error:
        return draw(request, "dead.html", here="/dead", messages=(), count=0, problems=[str(error)])
    return draw(request, "dead.html", here="/dead", messages=found.messages, count=found.count)


@router.post("/dead/replay")
async def post_replay(request: Request, name: Annotated[str, Form(max_length=200)]) -> Response:
    """Publish one again."""

    async def work() -> tuple[str, str]:
        async with audit_entry(request, "dead.replay", name):
            done = await replay_dead(services_of(request).control, name)
        return "/dead", f"{done.name} is published again, to {done.queue}."

    return await act(request, "operator", work, back="/dead")


@router.post("/dead/purge")
async def post_purge(request: Request, name: Annotated[str, Form(max_length=200)]) -> Response:
    """Delete one for good."""

    async def work() -> tuple[str, str]:
        async with audit_entry(request, "dead.purge", name):
            await purge_dead(services_of(request).control, name)
        return "/dead", f"{name} is deleted."

    return await act(request, "admin", work, back="/dead")


@router.post("/dead/all")
async def post_all(
    request: Request,
    action: Annotated[str, Form(pattern="^(replay|purge)$")],
    expected: Annotated[int, Form(ge=0)],
) -> Response:
    """Publish or delete all of them, if there are as many as the person saw."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        async with control.broker() as broker:
            count = await broker.count(DEAD_QUEUE)
        if count != expected:
            raise Refused(HTTPStatus.CONFLICT, f"{count} messages are dead now, and you saw {expected}: look again")
        async with audit_entry(request, f"dead.{action}", "all") as noted:
            if action == "purge":
                noted["purged"] = done = await purge_all(control)
                return "/dead", f"{done} deleted."
            replayed = await replay_all(control)
            noted["replayed"] = len(replayed.published)
        left = f" {len(replayed.refused)} stay dead: {replayed.refused[0]}" if replayed.refused else ""
        return "/dead", f"{len(replayed.published)} published again.{left}"

    return await act(request, "admin" if action == "purge" else "operator", work, back="/dead")
