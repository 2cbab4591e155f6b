"""The REST API under `/api/v1`: everything that the command line can do, with its words."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

from worker.web.api import (
    dead,
    documents,
    events,
    files,
    folders,
    hooks,
    jobs,
    notifications,
    option_sets,
    originals,
    scans,
    schedules,
    system,
    templates,
    uploads,
    workers,
)
from worker.web.problems import responses

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.routing import BaseRoute

PREFIX: Final = "/api/v1"
ROUTERS: Final = (
    jobs,
    workers,
    dead,
    option_sets,
    templates,
    scans,
    schedules,
    documents,
    events,
    files,
    uploads,
    originals,
    notifications,
    folders,
    hooks,
    system,
)


def add_to(application: FastAPI) -> None:
    """Add every endpoint."""
    application.router.routes.extend(_routes())


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Return every endpoint below `PREFIX`; FastAPI takes 2 ms to read each, once a process."""
    router = APIRouter(prefix=PREFIX, responses=responses(401, 403, 409, 422, 429, 503))
    for module in ROUTERS:
        router.include_router(module.router)
    return tuple(router.routes)


def roles() -> dict[tuple[str, str], str]:
    """Return by method and path the role that an endpoint asks for."""
    found: dict[tuple[str, str], str] = {}
    for module in ROUTERS:
        for route in module.router.routes:
            if isinstance(route, APIRoute):
                asked = (getattr(one.call, "role", "") for one in route.dependant.dependencies)
                role = next((name for name in asked if name), "")
                found |= {(method, PREFIX + route.path_format): role for method in route.methods or () if role}
    return found
