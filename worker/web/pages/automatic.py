"""Jobs and messages that are made automatically: folders, schedules, hooks, notifications; and what can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from worker.control.intake.folders import delete_folder, list_folders, pause_folder
from worker.control.intake.hooks import delete_hook, list_hooks
from worker.control.intake.notifications import delete_notification, list_notifications, try_notification
from worker.control.intake.schedules import delete_schedule, list_schedules, pause_schedule, put_schedule
from worker.control.intake.templates import list_templates
from worker.control.undo import list_originals, undo
from worker.core.errors import LeveretError
from worker.web.dependencies import audit_entry, services_of
from worker.web.pages.rendering import act, draw, login_redirect

if TYPE_CHECKING:
    from worker.web.services import Services

router = APIRouter()

PATH = "/settings/automatic"
MOST = 50
SECTIONS = ("folders", "schedules", "templates", "hooks", "notifications", "originals")


@router.get(PATH)
async def get_automatic(request: Request) -> Response:
    """Draw folders, schedules, hooks, notifications and originals."""
    if away := login_redirect("admin", request):
        return away
    empty: dict[str, Any] = dict.fromkeys(SECTIONS, ())
    try:
        values = await _rows(services_of(request))
    except LeveretError as error:
        values = empty | {"problems": [str(error)]}
    return draw(request, "automatic.html", here=PATH, most=MOST, **values)


async def _rows(here: Services) -> dict[str, Any]:
    return {
        "folders": await list_folders(here.control),
        "schedules": await list_schedules(here.control),
        "templates": await list_templates(here.control),
        "hooks": await list_hooks(here.control),
        "notifications": await list_notifications(here.control),
        "originals": await list_originals(here.control, MOST),
    }


@router.post(PATH + "/folders")
async def post_folder(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    action: Annotated[str, Form(pattern="^(pause|resume|delete)$")],
) -> Response:
    """Pause, resume or delete a folder."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        async with audit_entry(request, f"folder.{action}", name):
            if action == "delete":
                await delete_folder(control, name)
                return PATH, f"The folder {name} is deleted; its jobs and its files stay."
            await pause_folder(control, name, paused=action == "pause")
        return PATH, f"The folder {name} is {'paused' if action == 'pause' else 'looked at again'}."

    return await act(request, "admin", work, back=PATH)


@router.post(PATH + "/schedules")
async def post_schedule(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    action: Annotated[str, Form(pattern="^(pause|resume|delete)$")],
) -> Response:
    """Pause, resume or delete a schedule."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        async with audit_entry(request, f"schedule.{action}", name):
            if action == "delete":
                await delete_schedule(control, name)
                return PATH, f"The schedule {name} is deleted; its jobs stay."
            await pause_schedule(control, name, paused=action == "pause")
        return PATH, f"The schedule {name} {'runs by itself no more' if action == 'pause' else 'runs by itself again'}."

    return await act(request, "admin", work, back=PATH)


@router.post(PATH + "/schedules/stored")
async def post_stored_schedule(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    cron: Annotated[str, Form(max_length=100)],
    template: Annotated[str, Form(max_length=64)],
    zone: Annotated[str, Form(max_length=64)] = "UTC",
    sources: Annotated[str, Form(max_length=20_000)] = "",
    work_kind: Annotated[str, Form(alias="action", pattern="^(submit|scan)$")] = "submit",
) -> Response:
    """Store a schedule."""

    async def work() -> tuple[str, str]:
        named = [line.strip() for line in sources.splitlines() if line.strip()]
        document = {"cron": cron, "zone": zone, "template": template, "sources": named, "action": work_kind}
        async with audit_entry(request, "schedule.put", name):
            await put_schedule(services_of(request).control, name, document)
        return PATH, f"The schedule {name} is stored."

    return await act(request, "admin", work, back=PATH)


@router.post(PATH + "/hooks")
async def post_hook(request: Request, name: Annotated[str, Form(max_length=64)]) -> Response:
    """Delete a hook."""

    async def work() -> tuple[str, str]:
        async with audit_entry(request, "hook.delete", name):
            await delete_hook(services_of(request).control, name)
        return PATH, f"The hook {name} is deleted."

    return await act(request, "admin", work, back=PATH)


@router.post(PATH + "/notifications")
async def post_notification(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    action: Annotated[str, Form(pattern="^(test|delete)$")],
) -> Response:
    """Send a sample, or delete a notification."""

    async def work() -> tuple[str, str]:
        here = services_of(request)
        async with audit_entry(request, f"notification.{action}", name):
            if action == "delete":
                await delete_notification(here.control, name)
                return PATH, f"The notification {name} is deleted."
            await try_notification(here.control, name, here.sender)
        return PATH, f"A sample is sent to {name}."

    return await act(request, "admin", work, back=PATH)


@router.post(PATH + "/originals")
async def post_original(request: Request, job_id: Annotated[str, Form(max_length=128)]) -> Response:
    """Undo a job."""

    async def work() -> tuple[str, str]:
        here = services_of(request)
        async with audit_entry(request, "job.undo", job_id):
            done = await undo(here.control, here.originals, job_id)
        return PATH, f"{len(done.restored)} of the job's originals are put back."

    return await act(request, "admin", work, back=PATH)
