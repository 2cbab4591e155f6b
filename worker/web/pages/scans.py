"""Scans: a folder judged by a template, looked at while a server judges it, and made into jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from worker.control.intake.scans import delete_scan, get_scan, list_scans, start_scan
from worker.control.intake.templates import list_templates
from worker.core.errors import LeveretError
from worker.web.dependencies import audit_entry, services_of
from worker.web.pages.rendering import act, draw, login_redirect
from worker.web.pages.templates import values_of

router = APIRouter()

SCREEN = "/scans"
MOST = 25
SHOWN = 200
EVERY_MILLISECONDS = 2000


@router.get(SCREEN)
async def get_scans(request: Request) -> Response:
    """Draw the form of a scan, and the newest scans."""
    if away := login_redirect("operator", request):
        return away
    control = services_of(request).control
    values: dict[str, Any] = {"scans": [], "templates": []}
    try:
        values = {"scans": await list_scans(control, MOST), "templates": await list_templates(control)}
    except LeveretError as error:
        values["problems"] = [str(error)]
    open_ = any(one.state in {"waiting", "running"} for one in values["scans"])
    return draw(request, "scans.html", here=SCREEN, every=EVERY_MILLISECONDS if open_ else 0, **values)


@router.post(SCREEN)
async def post_scan(
    request: Request,
    template: Annotated[str, Form(max_length=64)],
    source: Annotated[str, Form(max_length=4096)],
    variables: Annotated[str, Form(max_length=20_000)] = "",
    health: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Start a scan."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        asked = {"template": template, "source": source.strip(), "variables": values_of(variables)}
        async with audit_entry(request, "scan.start", source, template=template):
            started = await start_scan(control, asked | {"health": bool(health)})
        return f"{SCREEN}/{started.scan_id}", ""

    return await act(request, "operator", work, back=SCREEN)


@router.get(SCREEN + "/{scan_id}")
async def get_scan_screen(request: Request, scan_id: str) -> Response:
    """Draw one scan: how far it is, and what it found."""
    if away := login_redirect("operator", request):
        return away
    found = await get_scan(services_of(request).control, scan_id)
    open_ = found.state in {"waiting", "running"}
    numbers = found.result or found.progress
    return draw(
        request,
        "scan.html",
        here=SCREEN,
        scan=found,
        numbers=numbers,
        shown=(found.result or {}).get("shown", []),
        most=SHOWN,
        every=EVERY_MILLISECONDS if open_ else 0,
    )


@router.post(SCREEN + "/{scan_id}")
async def post_one(
    request: Request,
    scan_id: str,
    action: Annotated[str, Form(pattern="^(submit|delete)$")],
    limit: Annotated[str, Form(max_length=9, pattern="^[0-9]*$")] = "",
) -> Response:
    """Delete a scan, or start one of the same files that makes jobs."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        if action == "delete":
            async with audit_entry(request, "scan.delete", scan_id):
                await delete_scan(control, scan_id)
            return SCREEN, "The scan is deleted; jobs that it made stay."
        asked = (await get_scan(control, scan_id)).document | {"submit": True}
        most = {"limit": int(limit)} if limit else {}
        async with audit_entry(request, "scan.start", asked["source"], template=asked["template"], submit=True):
            started = await start_scan(control, {key: one for key, one in asked.items() if key != "limit"} | most)
        return f"{SCREEN}/{started.scan_id}", ""

    return await act(request, "operator", work, back=SCREEN)
