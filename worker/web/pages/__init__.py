"""The page: drawn on the server from SQL, readable without JavaScript."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from fastapi import APIRouter

from worker.web.pages import automatic, dead, fleet, job, jobs, login, new, now, scans, settings, templates

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.routing import BaseRoute

SCREENS = (now, jobs, job, new, templates, scans, dead, fleet, settings, automatic, login)


def add_to(application: FastAPI) -> None:
    """Add every screen."""
    application.router.routes.extend(_routes())


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Return every screen; FastAPI reads each once a process."""
    router = APIRouter()
    for screen in SCREENS:
        router.include_router(screen.router, include_in_schema=False)
    return tuple(router.routes)
