"""Who asks, what the server is, what is wrong with it, who did what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from worker import __version__
from worker.core.errors import LeveretError
from worker.core.finding import Finding
from worker.core.views import AuditEntry
from worker.web.asking import Admin, Here, Viewer

router = APIRouter(tags=["system"])


class WhoAmI(BaseModel):
    """Who asks, and the server's version."""

    name: str
    role: str
    version: str


class NamedFinding(Finding):
    """What the doctor found out about one thing."""

    name: str


class AuditPage(BaseModel):
    """The newest entries first, and the number to ask for those before them."""

    entries: list[AuditEntry]
    next_before: int | None = None


@router.get("/whoami", summary="Who asks")
async def get_whoami(who: Viewer) -> WhoAmI:
    """Return the name and the role of the token that was sent."""
    return WhoAmI(name=who.name, role=who.role, version=__version__)


@router.get("/doctor", summary="Look at everything that the server needs")
async def get_doctor(here: Here, _: Admin) -> list[NamedFinding]:
    """Return what the doctor finds on the server's host; it takes some seconds."""
    return await findings(here)


async def findings(here: Here) -> list[NamedFinding]:
    """Return what the doctor finds; a check that fails is a finding."""
    found = []
    for name, check in here.checks():
        try:
            one = await check()
        except LeveretError as error:
            one = Finding(status="error", fact=str(error))
        found.append(NamedFinding(name=name, **one.model_dump()))
    return found


@router.get("/audit", summary="Who did what")
async def get_audit(
    here: Here,
    _: Admin,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    target: Annotated[str | None, Query(max_length=200)] = None,
) -> AuditPage:
    """Return what was done over the page and the API, newest first."""
    entries = await here.views.audit(limit, before, target)
    return AuditPage(entries=entries, next_before=entries[-1].number if len(entries) == limit else None)
