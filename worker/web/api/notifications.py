"""Notifications over the API. Addresses and secrets are stored, and never shown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from worker.control.intake.notifications import (
    delete_notification,
    get_notification,
    list_notifications,
    put_notification,
    try_notification,
)
from worker.core.message.wire import parse
from worker.core.notification import NotificationView
from worker.web.api.bodies import BODY
from worker.web.dependencies import Admin, Here, Viewer, audit_entry
from worker.web.problems import responses

router = APIRouter(tags=["notifications"])

Name = Annotated[str, Field(min_length=1, max_length=64)]


@router.get("/notifications", summary="List the notifications")
async def get_all(here: Here, _: Viewer) -> list[NotificationView]:
    """Return the notifications by name."""
    return [NotificationView.of(one) for one in await list_notifications(here.control)]


@router.get("/notifications/{name}", summary="Look at a notification", responses=responses(404))
async def get_one(here: Here, _: Viewer, name: Name) -> NotificationView:
    """Return one notification."""
    return NotificationView.of(await get_notification(here.control, name))


@router.put("/notifications/{name}", summary="Store a notification", openapi_extra=BODY)
async def put_one(request: Request, here: Here, _: Admin, name: Name) -> NotificationView:
    """Return what is stored now. Where the body has `…` for an address or a secret, the stored one stays."""
    document = parse(await request.body())
    async with audit_entry(request, "notification.put", name):
        await put_notification(here.control, name, document, here.check_address)
    return NotificationView.of(await get_notification(here.control, name))


@router.delete("/notifications/{name}", status_code=204, summary="Delete a notification", responses=responses(404))
async def delete_one(request: Request, here: Here, _: Admin, name: Name) -> None:
    """Delete one notification, and what it has not sent yet."""
    async with audit_entry(request, "notification.delete", name):
        await delete_notification(here.control, name)


@router.post("/notifications/{name}/test", status_code=204, summary="Send a sample", responses=responses(404))
async def send_sample(request: Request, here: Here, _: Admin, name: Name) -> None:
    """Send a sample now; 503 says why it did not arrive."""
    async with audit_entry(request, "notification.test", name):
        await try_notification(here.control, name, here.sender)
