"""Errors as RFC 9457 problems, with the words of the command line."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from worker import control
from worker.core import errors
from worker.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI, Request
    from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 5

STATUSES: Final[tuple[tuple[type[errors.LeveretError], HTTPStatus], ...]] = (
    (control.NotFound, HTTPStatus.NOT_FOUND),
    (control.Refused, HTTPStatus.CONFLICT),
    (errors.IdReused, HTTPStatus.CONFLICT),
    (errors.InvalidJob, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.RefusedPath, HTTPStatus.FORBIDDEN),
    (errors.SourceMissing, HTTPStatus.NOT_FOUND),
    (errors.DiskFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (errors.Permanent, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.Transient, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.Infrastructure, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.Misconfigured, HTTPStatus.SERVICE_UNAVAILABLE),
    # For example a database that refuses a statement: the client cannot do anything about it.
    (errors.LeveretError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""Each class of error and its HTTP status; the first that fits."""


class Fault(BaseModel):
    """One thing that is wrong with what was sent: where, and what."""

    model_config = ConfigDict(frozen=True)

    path: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457: what went wrong, in one line that a person can act on."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="The class of the error, as docs/reference/errors.md lists it.")
    title: str
    status: int
    detail: str
    problems: list[Fault] = Field(default_factory=list, description="Every fault of what was sent.")


class Refused(errors.LeveretError):
    """A request that is refused with this status and this sentence."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = dict(headers or {})
        super().__init__(detail)


def status_of(error: errors.LeveretError) -> HTTPStatus:
    """Return the HTTP status of an error."""
    if isinstance(error, Refused):
        return error.status
    stated = getattr(type(error), "http_status", None)
    if isinstance(stated, int):
        return HTTPStatus(stated)
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def document_of(error: errors.LeveretError) -> ProblemDocument:
    """Return an error as a problem."""
    status = status_of(error)
    faults = [Fault(path=one.path, message=redact(one.message)) for one in getattr(error, "problems", ())]
    name = status.phrase.replace(" ", "") if isinstance(error, Refused) else type(error).__name__
    return ProblemDocument(
        type=f"urn:leveret:{name}",
        title=status.phrase,
        status=status,
        detail=redact(" ".join(str(error).split())),
        problems=faults,
    )


def problem_response(error: errors.LeveretError) -> JSONResponse:
    """Return the answer for an error."""
    document = document_of(error)
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    if document.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    return JSONResponse(document.model_dump(), document.status, headers, media_type=MEDIA_TYPE)


def of_validation(error: RequestValidationError) -> errors.InvalidJob:
    """Return what pydantic found wrong with a request as our own error."""
    return errors.InvalidJob(
        errors.Problem(".".join(str(part) for part in item["loc"] if part != "body"), str(item["msg"]))
        for item in error.errors()
    )


def of_http(error: HTTPException) -> Refused:
    """Return a refusal of the framework (404, 405) as our own error."""
    return Refused(HTTPStatus(error.status_code), str(error.detail), error.headers)


def add_to(application: FastAPI, page: Callable[[Request, errors.LeveretError], Response]) -> None:
    """Let every error of the API leave as a problem, and every one of the page as `page` draws it."""

    def answer(request: Request, error: errors.LeveretError) -> Response:
        path = request.url.path.removeprefix(request.scope.get("root_path", "").rstrip("/"))
        return problem_response(error) if path.startswith(("/api/", "/static/")) else page(request, error)

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.LeveretError)  # noqa: S101 - registered for it alone
        return answer(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
        return answer(request, of_validation(error))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - as above
        return answer(request, of_http(error))

    async def unexpected(request: Request, error: Exception) -> Response:
        del error  # uvicorn logs it; the browser need not know what a fault of ours looks like
        message = "this is a fault of leveret, please report it"
        return answer(request, Refused(HTTPStatus.INTERNAL_SERVER_ERROR, message))

    application.add_exception_handler(errors.LeveretError, ours)
    application.add_exception_handler(RequestValidationError, invalid)
    application.add_exception_handler(HTTPException, framework)
    application.add_exception_handler(Exception, unexpected)


def responses(*statuses: int, **more: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of the answers that are problems, and of others: `_200={…}`."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    documents: dict[int | str, dict[str, Any]] = {int(name.lstrip("_")): document for name, document in more.items()}
    return documents | {
        status: {"model": ProblemDocument, "description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }
