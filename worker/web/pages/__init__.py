"""The page: drawn on the server from SQL, readable without JavaScript."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

FIRST: Final = ("now", "login")
"""The modules of the screens that answer as soon as the server listens."""
LATER: Final = ("jobs", "job", "new", "templates", "scans", "dead", "fleet", "settings", "automatic")
"""Those that are imported one at a time while it answers."""


@cache
def routes(part: str) -> tuple[BaseRoute, ...]:
    """Return the screens of a part; FastAPI reads each once a process."""
    found = APIRouter()
    found.include_router(router(part), include_in_schema=False)
    return tuple(found.routes)


def router(part: str) -> APIRouter:
    """Return the screens of a part, for who includes them."""
    found = import_module(f"{__name__}.{part}").router
    assert isinstance(found, APIRouter)  # noqa: S101 - each part has one
    return found
