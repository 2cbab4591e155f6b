"""The ASGI application: the API, the page, and the guard around both."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from worker import __version__
from worker.core.errors import LeveretError
from worker.core.record import STATES
from worker.web import api, assets, pages, problems
from worker.web.access import Tokens
from worker.web.asking import Here, Viewer
from worker.web.guard import Buckets, Failures, Guard, Rules
from worker.web.pages.drawing import refusal
from worker.web.problems import Refused
from worker.web.services import Services, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import ASGIApp

    from worker.settings import Settings

DESCRIPTION: Final = """\
Everything that the command line can do. Errors are `application/problem+json` (RFC 9457) with the words of the
command line. Lists have cursors. `Idempotency-Key` lets a submission be repeated. `/events` says when to look again."""
FOR_EVER: Final = "public, max-age=31536000, immutable"


def create(settings: Settings, services: Services | None = None, tokens: Tokens | None = None) -> ASGIApp:
    """Return the application; it makes its own services when it starts, unless some are given."""
    tokens = tokens or Tokens.of(settings)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        if services is not None:
            application.state.services = services
            yield
            return
        async with started(settings) as made:
            application.state.services = made
            yield

    application = FastAPI(
        title="Leveret",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        root_path=settings.serve_root_path,
        lifespan=lifespan,
    )
    application.state.services = services
    problems.add_to(application, refusal)
    api.add_to(application)
    pages.add_to(application)
    _add_plain(application)
    _describe_security(application)
    rules = Rules.of(tokens, settings.serve_hosts, settings.serve_trusted_proxies)
    rate = settings.serve_requests_per_second
    return Guard(application, rules, Buckets(rate, rate * 10), Failures())


def _add_plain(application: FastAPI) -> None:
    """Add what needs no role: our own files, and whether the server lives and is ready."""

    @application.get("/static/{digest}/{name:path}", include_in_schema=False)
    async def get_static(digest: str, name: str) -> Response:
        content = assets.content_of(name)
        if content is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such file")
        kind = next(kind for suffix, kind in assets.TYPES.items() if name.endswith(suffix))
        kept = FOR_EVER if digest == assets.digest_of(name) else "no-cache"
        return Response(content, media_type=kind, headers={"Cache-Control": kept})

    @application.get("/healthz", include_in_schema=False)
    async def get_health() -> Response:
        return PlainTextResponse("ok\n")

    @application.get("/metrics", include_in_schema=False)
    async def get_metrics(request: Request, here: Here, _: Viewer) -> Response:
        answers = request.scope["state"]["answers"]
        return PlainTextResponse(await exposition(here, answers), media_type="text/plain; version=0.0.4")

    @application.get("/readyz", include_in_schema=False)
    async def get_ready(request: Request) -> Response:
        found = await readiness(request.app.state.services)
        ready = not found["database"]
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse(
            {"ready": ready} | {name: "ok" if not problem else "away" for name, problem in found.items()}, status
        )


async def readiness(services: Services) -> dict[str, str]:
    """Return what is wrong with the database, without which nothing can be shown, and with the broker."""
    try:
        await services.control.stores.counts()
        database = ""
    except LeveretError as error:
        database = str(error)
    _, broker = await services.depths.now()
    return {"database": database, "broker": broker}


async def exposition(services: Services, answers: Mapping[str, int]) -> str:
    """Return what Prometheus reads of the server: its answers, its streams, and what database and broker count.

    What cannot be asked is left out, so that an alert on its absence fires.
    """
    lines = ["# TYPE leveret_server_answers_total counter"]
    lines += [f'leveret_server_answers_total{{status="{status}"}} {count}' for status, count in sorted(answers.items())]
    lines += ["# TYPE leveret_server_event_streams gauge", f"leveret_server_event_streams {services.pulse.watchers}"]
    lines.append("# TYPE leveret_jobs gauge")
    with suppress(LeveretError):
        counts = await services.control.stores.counts()
        lines += [f'leveret_jobs{{state="{state}"}} {counts.get(state, 0)}' for state in STATES]
    lines.append("# TYPE leveret_queue_messages gauge")
    depths, _ = await services.depths.now()
    lines += [f'leveret_queue_messages{{queue="{queue}"}} {count}' for queue, count in depths.items()]
    return "\n".join(lines) + "\n"


def _describe_security(application: FastAPI) -> None:
    """Let the OpenAPI document say that a token is sent as a bearer, and name the shape of every problem."""
    original = application.openapi

    def openapi() -> dict[str, object]:
        document = original()
        components = document.setdefault("components", {})
        components.setdefault("securitySchemes", {})["token"] = {"type": "http", "scheme": "bearer"}
        document["security"] = [{"token": []}, {}]
        for (method, path), role in api.roles().items():
            if operation := document["paths"].get(path, {}).get(method.lower()):
                operation["x-role"] = role
        return document

    application.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
