"""Settings: option sets, what the doctor finds, who did what, versions."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from worker.control.doctor import findings
from worker.control.option_sets import delete_option_set, list_option_sets, put_option_set
from worker.control.steer import list_workers
from worker.core.errors import LeveretError
from worker.core.message.wire import parse
from worker.web.api.files import roots_of
from worker.web.dependencies import audit_entry, services_of
from worker.web.pages.rendering import act, draw, login_redirect

if TYPE_CHECKING:
    from worker.web.services import Services

router = APIRouter()

ENTRIES = 50


@router.get("/settings")
async def get_settings(
    request: Request,
    doctor: Annotated[bool, Query()] = False,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    """Draw the settings; with `doctor` look at everything first, which takes seconds."""
    if away := login_redirect("admin", request):
        return away
    here = services_of(request)
    found = await findings(here.checks()) if doctor else None
    try:
        values = await _rows(here, before)
    except LeveretError as error:
        values = {"sets": [], "entries": [], "versions": [], "problems": [str(error)]}
    values |= {"findings": found, "roots": roots_of(here), "python": platform.python_version()}
    return draw(request, "settings.html", here="/settings", modules=sorted(here.registry.tasks), **values)


async def _rows(here: Services, before: int | None) -> dict[str, Any]:
    versions = sorted({(worker.version, worker.worker_id) for worker in await list_workers(here.control)})
    return {
        "sets": await list_option_sets(here.control),
        "entries": await here.views.audit(ENTRIES, before),
        "versions": versions,
    }


@router.post("/settings/option-sets")
async def post_option_set(
    request: Request,
    module: Annotated[str, Form(max_length=100)],
    name: Annotated[str, Form(max_length=200)],
    options: Annotated[str, Form(max_length=100_000)] = "",
    action: Annotated[str, Form(pattern="^(put|delete)$")] = "put",
) -> Response:
    """Store or delete an option set."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        async with audit_entry(request, f"option-set.{action}", f"{module} {name}"):
            if action == "delete":
                await delete_option_set(control, module, name)
                return "/settings", f"{module} {name} is deleted."
            await put_option_set(control, module, name, parse(options.encode()))
        return "/settings", f"{module} {name} is stored."

    return await act(request, "admin", work, back="/settings")
