"""Scans over the API: a folder judged by a template, by the server, while whoever asked looks on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from worker.control.intake import scans as use
from worker.core.scanning import ScanRecord, ScanRequest
from worker.web.dependencies import Here, Operator, Viewer, audit_entry
from worker.web.problems import responses

router = APIRouter(tags=["scans"])

ScanId = Annotated[str, Field(min_length=1, max_length=64)]


@router.post("/scans", status_code=202, summary="Scan a folder", responses=responses(404))
async def post_scan(request: Request, here: Here, _: Operator, asked: ScanRequest) -> ScanRecord:
    """Return the scan, which a server runs soon: ask for it until its state is `completed` or `failed`."""
    async with audit_entry(request, "scan.start", asked.source, template=asked.template, submit=asked.submit):
        return await use.start_scan(here.control, asked.model_dump(exclude_unset=True))


@router.get("/scans", summary="List the scans")
async def get_all(
    here: Here, _: Viewer, limit: Annotated[int, Query(ge=1, le=use.KEPT)] = use.KEPT
) -> list[ScanRecord]:
    """Return the newest scans first, with their numbers so far; what each found is on its own."""
    return await use.list_scans(here.control, limit)


@router.get("/scans/{scan_id}", summary="Look at a scan", responses=responses(404))
async def get_one(here: Here, _: Viewer, scan_id: ScanId) -> ScanRecord:
    """Return a scan; `result` is what it found: the numbers, the first thousand files and why, what would be saved."""
    return await use.get_scan(here.control, scan_id)


@router.delete("/scans/{scan_id}", status_code=204, summary="Delete a scan", responses=responses(404))
async def delete_one(request: Request, here: Here, _: Operator, scan_id: ScanId) -> None:
    """Delete a scan; where it runs it ends, and the jobs that it made stay."""
    async with audit_entry(request, "scan.delete", scan_id):
        await use.delete_scan(here.control, scan_id)
