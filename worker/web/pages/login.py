"""Login by token: the cookie that a browser keeps holds it, out of reach of scripts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from worker.web.access import COOKIE, SESSION_SECONDS, Tokens
from worker.web.connections import host_of
from worker.web.limits import Failures
from worker.web.pages.rendering import draw

router = APIRouter()


def _inside(path: str) -> str:
    """Return a path of this page: what would lead to another host leads home."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"


@router.get("/login")
async def get_login(request: Request, after: Annotated[str, Query(alias="next", max_length=2000)] = "/") -> Response:
    """Draw the form."""
    return draw(request, "login.html", here="/login", after=_inside(after), wrong=False)


@router.post("/login")
async def post_login(
    request: Request,
    token: Annotated[str, Form(max_length=512)] = "",
    after: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Set the cookie, or say that the token is not known; each wrong one takes longer than the one before."""
    state = request.scope["state"]
    tokens, failures = state["tokens"], state["failures"]
    assert isinstance(tokens, Tokens)  # noqa: S101 - the guard put it there
    assert isinstance(failures, Failures)  # noqa: S101 - as above
    root = request.scope.get("root_path", "").rstrip("/")
    if tokens.principal(token.strip()) is None:
        await failures.wait_after(host_of(str(state["client"])))
        return draw(request, "login.html", HTTPStatus.UNAUTHORIZED, here="/login", after=_inside(after), wrong=True)
    answer = RedirectResponse(f"{root}{_inside(after)}", HTTPStatus.SEE_OTHER)
    secure = state["scheme"] == "https"
    answer.set_cookie(
        COOKIE, token.strip(), SESSION_SECONDS, path=root or "/", secure=secure, httponly=True, samesite="strict"
    )
    return answer


@router.post("/logout")
async def post_logout(request: Request) -> Response:
    """Take the cookie away."""
    root = request.scope.get("root_path", "").rstrip("/")
    answer = RedirectResponse(f"{root}/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, path=root or "/", httponly=True, samesite="strict")
    return answer
