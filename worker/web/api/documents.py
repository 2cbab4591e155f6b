"""The schema of messages, their validation, and the dry run of one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from worker.control.schemas import message_schema, module_schema
from worker.web.api.bodies import BODY
from worker.web.dependencies import Here, Viewer
from worker.web.dry_run import DryRun, dry_run
from worker.web.problems import responses

router = APIRouter(tags=["documents"])


class ModuleDocument(BaseModel):
    """A module: its name and what it does."""

    name: str
    summary: str


@router.get("/modules", summary="List the modules")
async def get_modules(here: Here, _: Viewer) -> list[ModuleDocument]:
    """Return the modules that are installed on this server."""
    tasks = here.registry.tasks
    return [ModuleDocument(name=name, summary=summary_of(tasks[name])) for name in sorted(tasks)]


def summary_of(task: object) -> str:
    """Return what a module does, in its own first line."""
    return (type(task).__doc__ or "").strip().partition("\n")[0]


@router.get("/schema", summary="The JSON Schema of a message")
async def get_schema(here: Here, _: Viewer) -> dict[str, Any]:
    """Return the canonical message's schema, with the names of the modules."""
    return message_schema(here.registry)


@router.get("/modules/{name}/schema", summary="The JSON Schema of a module's data", responses=responses(404))
async def get_module_schema(here: Here, _: Viewer, name: str) -> dict[str, Any]:
    """Return the schema of one module's data."""
    return module_schema(here.registry, name)


@router.post("/validate", summary="Say what would become of a message, without running it", openapi_extra=BODY)
async def post_validate(request: Request, here: Here, who: Viewer) -> DryRun:
    """Return every problem of a message, its lane, who could take it, and what similar jobs took."""
    return await dry_run(here, await request.body(), rehearse=who.may("operator"))
