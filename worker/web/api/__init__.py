"""The REST API under `/api/v1`: everything that the command line can do, with its words."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

from worker.web.problems import responses

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

PREFIX: Final = "/api/v1"
PARTS: Final = (
    "jobs",
    "bulk",
    "workers",
    "dead",
    "option_sets",
    "templates",
    "scans",
    "schedules",
    "documents",
    "events",
    "files",
    "uploads",
    "originals",
    "notifications",
    "folders",
    "hooks",
    "system",
)
"""The modules of this package, each with endpoints; they are imported one at a time while the server answers."""


@cache
def routes(part: str) -> tuple[BaseRoute, ...]:
    """Return the endpoints of a part; FastAPI takes milliseconds to read each, once a process."""
    found = APIRouter(prefix=PREFIX, responses=responses(401, 403, 409, 422, 429, 503))
    found.include_router(_router(part))
    return tuple(found.routes)


def roles() -> dict[tuple[str, str], str]:
    """Return by method and path the role that an endpoint asks for."""
    found: dict[tuple[str, str], str] = {}
    for part in PARTS:
        for route in _router(part).routes:
            if isinstance(route, APIRoute):
                asked = (getattr(one.call, "role", "") for one in route.dependant.dependencies)
                role = next((name for name in asked if name), "")
                found |= {(method, PREFIX + route.path_format): role for method in route.methods or () if role}
    return found


def _router(part: str) -> APIRouter:
    found = import_module(f"{__name__}.{part}").router
    assert isinstance(found, APIRouter)  # noqa: S101 - each part has one
    return found
