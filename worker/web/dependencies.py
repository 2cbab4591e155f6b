"""Helpers of the request handlers: the services, the asker, and a note of what was done."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog
from fastapi import Depends, Request

from worker.core.errors import LeveretError
from worker.core.redaction import redact
from worker.web.access import Principal, Role
from worker.web.guard import unauthorized
from worker.web.problems import Refused
from worker.web.services import Services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = structlog.get_logger(__name__)


def services_of(request: Request) -> Services:
    """Return the services of this server."""
    found = request.app.state.services
    if not isinstance(found, Services):
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the server is starting")
    return found


def principal_of(request: Request) -> Principal | None:
    """Return who asks; None for somebody who is not known."""
    found = request.scope.get("state", {}).get("principal")
    return found if isinstance(found, Principal) else None


def need(role: Role) -> Callable[[Request], Principal]:
    """Return a dependency that lets only this role, and those above it, pass."""

    def check(request: Request) -> Principal:
        principal = principal_of(request)
        if principal is None:
            raise unauthorized("this needs a token: send it as `Authorization: Bearer …`")
        if not principal.may(role):
            raise Refused(HTTPStatus.FORBIDDEN, f"this needs the role {role}; {principal.name} is {principal.role}")
        return principal

    check.role = role  # type: ignore[attr-defined]  # read by the table of roles and endpoints
    return check


Here = Annotated[Services, Depends(services_of)]
Viewer = Annotated[Principal, Depends(need("viewer"))]
Operator = Annotated[Principal, Depends(need("operator"))]
Admin = Annotated[Principal, Depends(need("admin"))]

DONE: Final = "done"


@asynccontextmanager
async def audit_entry(request: Request, action: str, target: str, **detail: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield what else to write down; who did what is noted when the block ends, and how it went.

    A note that cannot be written undoes nothing: it goes to the log.
    """
    outcome = DONE
    try:
        yield detail
    except LeveretError as error:
        outcome = str(error)
        raise
    finally:
        await _note(request, action, target, detail, outcome)


async def _note(request: Request, action: str, target: str, detail: dict[str, Any], outcome: str) -> None:
    principal = principal_of(request)
    entry: dict[str, Any] = {
        "actor": principal.name if principal else "nobody",
        "role": principal.role if principal else "",
        "client": str(request.scope.get("state", {}).get("client", "")),
        "action": action,
        "target": redact(target),
        "detail": {key: redact(value) if isinstance(value, str) else value for key, value in detail.items()},
        "outcome": redact(outcome),
    }
    try:
        await services_of(request).views.note(**entry)
    except LeveretError as error:
        log.warning("audit_not_written", error=str(error), **entry)
