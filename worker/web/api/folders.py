"""Watched folders over the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from worker.control.intake import folders as use
from worker.core.folder import FileState, FolderFile, StoredFolder
from worker.core.message.wire import parse
from worker.web.api.bodies import BODY
from worker.web.dependencies import Admin, Here, Operator, Viewer, audit_entry
from worker.web.problems import responses

router = APIRouter(tags=["folders"])

Name = Annotated[str, Field(min_length=1, max_length=64)]


@router.get("/folders", summary="List the watched folders")
async def get_all(here: Here, _: Viewer) -> list[StoredFolder]:
    """Return the folders by name, with how many files are in each state."""
    return await use.list_folders(here.control)


@router.get("/folders/{name}", summary="Look at a watched folder", responses=responses(404))
async def get_one(here: Here, _: Viewer, name: Name) -> StoredFolder:
    """Return one folder."""
    return await use.get_folder(here.control, name)


@router.get("/folders/{name}/files", summary="List what was seen in a folder", responses=responses(404))
async def get_files(
    here: Here,
    _: Viewer,
    name: Name,
    state: Annotated[FileState | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> list[FolderFile]:
    """Return files and what became of them, the newest first."""
    return await use.list_files(here.control, name, state, limit)


@router.put("/folders/{name}", summary="Store a watched folder", openapi_extra=BODY, responses=responses(404))
async def put_one(request: Request, here: Here, _: Admin, name: Name) -> StoredFolder:
    """Return the folder that is stored now."""
    document = parse(await request.body())
    async with audit_entry(request, "folder.put", name):
        return await use.put_folder(here.control, here.folder_files, name, document)


@router.post("/folders/{name}/pause", summary="Take nothing from a folder", responses=responses(404))
async def pause_one(request: Request, here: Here, _: Operator, name: Name) -> StoredFolder:
    """Return the folder, paused."""
    async with audit_entry(request, "folder.pause", name):
        return await use.pause_folder(here.control, name, paused=True)


@router.post("/folders/{name}/resume", summary="Take films from a folder again", responses=responses(404))
async def resume_one(request: Request, here: Here, _: Operator, name: Name) -> StoredFolder:
    """Return the folder, looked at again."""
    async with audit_entry(request, "folder.resume", name):
        return await use.pause_folder(here.control, name, paused=False)


@router.delete("/folders/{name}", status_code=204, summary="Delete a watched folder", responses=responses(404))
async def delete_one(request: Request, here: Here, _: Admin, name: Name) -> None:
    """Delete one folder; its jobs and its files stay."""
    async with audit_entry(request, "folder.delete", name):
        await use.delete_folder(here.control, name)
