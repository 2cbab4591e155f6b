"""The page: drawn on the server from SQL, readable without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.web.pages import automatic, dead, fleet, job, jobs, login, new, now, settings, templates

if TYPE_CHECKING:
    from fastapi import FastAPI

SCREENS = (now, jobs, job, new, templates, dead, fleet, settings, automatic, login)


def add_to(application: FastAPI) -> None:
    """Add every screen."""
    for screen in SCREENS:
        application.include_router(screen.router, include_in_schema=False)
