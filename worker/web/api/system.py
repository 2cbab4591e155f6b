"""The asker, the server, its doctor, and the audit."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from worker import __version__
from worker.control.doctor import findings
from worker.core.finding import NamedFinding
from worker.core.views import AuditEntry, Disagreement
from worker.web.dependencies import Admin, Here, Viewer, audit_entry

router = APIRouter(tags=["system"])


class WhoAmI(BaseModel):
    """The asker, and the server's version."""

    name: str
    role: str
    version: str


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
    return await findings(here.checks())


@router.post("/reconcile", summary="Compare the database, the broker and the storages")
async def post_reconcile(
    request: Request,
    here: Here,
    _: Admin,
    mend: Annotated[bool, Query(description="Put right what can be put right.")] = False,
    overdue: Annotated[float, Query(ge=0, le=1e9, description="How many seconds a job may be overdue.")] = 120.0,
) -> list[Disagreement]:
    """Return what does not agree, and what was done about it; left scratch is that of the server's host."""
    if not mend:
        return await here.reconcile(overdue, mend=False)
    async with audit_entry(request, "fleet.reconcile", "all") as noted:
        found = await here.reconcile(overdue, mend=True)
        noted["found"], noted["mended"] = len(found), sum(bool(one.done) for one in found)
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
