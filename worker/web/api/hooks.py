"""Hooks over the API: called by other programs with their secret, kept by admins."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from worker.control.intake import hooks as use
from worker.core.hook import HookCall, HookView
from worker.core.message.wire import parse
from worker.core.record import Record
from worker.web.api.bodies import BODY
from worker.web.dependencies import Admin, Here, Viewer, audit_entry
from worker.web.limits import Failures
from worker.web.problems import Refused, responses

router = APIRouter(tags=["hooks"])

Name = Annotated[str, Field(min_length=1, max_length=64)]


class HookAnswer(Record):
    """The outcome of a call."""

    outcome: str
    job_id: str | None


@router.post("/hooks/{name}", status_code=202, summary="Call a hook", openapi_extra=BODY | {"security": []})
async def call(request: Request, here: Here, name: Name) -> HookAnswer:
    """Return what came of it. The caller proves that it knows the hook's secret; a token is not asked for."""
    body = await request.body()
    try:
        done = await use.receive(here.control, name, dict(request.headers), body, time.time())
    except use.NotGenuine as error:
        state = request.scope["state"]
        failures = state.get("failures")
        if isinstance(failures, Failures):
            await failures.wait_after(f"hook {state['client']}")
        raise Refused(HTTPStatus.UNAUTHORIZED, str(error)) from error
    return HookAnswer(outcome=done.outcome, job_id=done.job_id)


@router.get("/hooks", summary="List the hooks")
async def get_all(here: Here, _: Viewer) -> list[HookView]:
    """Return the hooks by name."""
    return [HookView.of(one.name, one.hook) for one in await use.list_hooks(here.control)]


@router.get("/hooks/{name}", summary="Look at a hook", responses=responses(404))
async def get_one(here: Here, _: Viewer, name: Name) -> HookView:
    """Return one hook."""
    return HookView.of(name, (await use.get_hook(here.control, name)).hook)


@router.get("/hooks/{name}/calls", summary="List the calls of a hook", responses=responses(404))
async def get_calls(
    here: Here, _: Viewer, name: Name, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[HookCall]:
    """Return the genuine calls, the newest first."""
    return await use.list_calls(here.control, name, limit)


@router.put("/hooks/{name}", summary="Store a hook", openapi_extra=BODY, responses=responses(404))
async def put_one(request: Request, here: Here, _: Admin, name: Name) -> HookView:
    """Return what is stored now. Where the body has `…` for the secret, the stored one stays."""
    document = parse(await request.body())
    async with audit_entry(request, "hook.put", name):
        hook = await use.put_hook(here.control, name, document)
    return HookView.of(name, hook)


@router.delete("/hooks/{name}", status_code=204, summary="Delete a hook", responses=responses(404))
async def delete_one(request: Request, here: Here, _: Admin, name: Name) -> None:
    """Delete one hook, and what is known of its calls."""
    async with audit_entry(request, "hook.delete", name):
        await use.delete_hook(here.control, name)
