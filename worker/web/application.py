"""The ASGI application: the API, the page, and the guard around both."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from worker import __version__
from worker.core.errors import LeveretError
from worker.core.record import STATES
from worker.web import api, assets, pages, problems
from worker.web.access import Tokens
from worker.web.dependencies import need, services_of
from worker.web.guard import Guard, Rules
from worker.web.limits import Buckets, Failures
from worker.web.pages.rendering import refusal
from worker.web.problems import Refused
from worker.web.services import Services, open_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from worker.settings import Settings

DESCRIPTION: Final = """\
Everything that the command line can do. Errors are `application/problem+json` (RFC 9457) with the words of the
command line. Lists have cursors. `Idempotency-Key` lets a submission be repeated. `/events` says when to look again."""
FOR_EVER: Final = "public, max-age=31536000, immutable"
EARLY: Final = frozenset({"/", "/login", "/healthz", "/readyz", "/metrics"})
"""The paths that are answered before everything is imported, beside our own files."""
BETWEEN_SECONDS: Final = 0.01
"""The seconds for which requests have the processor to themselves between two imports, at the start."""


@dataclass
class Growing:
    """An application that answers before all of it is imported: a request for the rest waits for the rest.

    To import every screen and endpoint, and to let FastAPI read them, takes as long as everything else that a start
    takes. What a person and a supervisor ask for first needs none of it.
    """

    application: FastAPI
    _whole: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as soon as it is known how."""
        if scope["type"] == "http" and not self._whole.is_set() and not self._is_early(scope["path"]):
            await self._whole.wait()
        await self.application(scope, receive, send)

    async def grow(self) -> None:
        """Import the rest piece by piece; requests are answered in between."""
        for routes, part in _parts():
            await asyncio.sleep(BETWEEN_SECONDS)
            self.application.router.routes.extend(routes(part))
        self._whole.set()

    def complete(self) -> None:
        """Import the rest at once."""
        for routes, part in _parts():
            self.application.router.routes.extend(routes(part))
        self._whole.set()

    def openapi(self) -> dict[str, Any]:
        """Return the document of everything that is imported."""
        return self.application.openapi()

    def _is_early(self, path: str) -> bool:
        path = path.removeprefix(self.application.root_path)
        return path in EARLY or path.startswith("/static/")


def _parts() -> Iterator[tuple[Callable[[str], tuple[BaseRoute, ...]], str]]:
    # A screen and an endpoint may have the same name: the name then resolves to the endpoint.
    yield from ((api.routes, part) for part in api.PARTS)
    yield from ((pages.routes, part) for part in pages.LATER)


def create(settings: Settings, services: Services | None = None, tokens: Tokens | None = None) -> ASGIApp:
    """Return the application, complete; it makes its own services when it starts, unless some are given."""
    growing, guard = begin(settings, services, tokens)
    growing.complete()
    return guard


def begin(
    settings: Settings, services: Services | None = None, tokens: Tokens | None = None
) -> tuple[Growing, ASGIApp]:
    """Return what has yet to grow, and the application around it."""
    tokens = tokens or Tokens.of(settings)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        if services is not None:
            application.state.services = services
            yield
            return
        async with open_services(settings) as made:
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
    _add_plain(application)
    for part in pages.FIRST:
        application.router.routes.extend(pages.routes(part))
    _describe_security(application)
    rules = Rules.of(tokens, settings.serve_hosts, settings.serve_trusted_proxies)
    rate = settings.serve_requests_per_second
    growing = Growing(application)
    return growing, Guard(growing, rules, Buckets(rate, rate * 10), Failures())


def _add_plain(application: FastAPI) -> None:
    """Add what needs no role: our own files, and whether the server lives and is ready."""

    async def get_static(request: Request) -> Response:
        digest, name = request.path_params["digest"], request.path_params["name"]
        content = assets.content_of(name)
        if content is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such file")
        kind = next(kind for suffix, kind in assets.TYPES.items() if name.endswith(suffix))
        kept = FOR_EVER if digest == assets.digest_of(name) else "no-cache"
        return Response(content, media_type=kind, headers={"Cache-Control": kept})

    async def get_health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def get_metrics(request: Request) -> Response:
        need("viewer")(request)
        answers = request.scope["state"]["answers"]
        return PlainTextResponse(
            await exposition(services_of(request), answers), media_type="text/plain; version=0.0.4"
        )

    async def get_ready(request: Request) -> Response:
        found = await readiness(request.app.state.services)
        ready = not found["database"]
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse(
            {"ready": ready} | {name: "ok" if not problem else "away" for name, problem in found.items()}, status
        )

    # FastAPI would read each of them for milliseconds, and finds nothing that it could check.
    application.add_route("/static/{digest}/{name:path}", get_static)
    application.add_route("/healthz", get_health)
    application.add_route("/readyz", get_ready)
    application.add_route("/metrics", get_metrics)


async def readiness(services: Services) -> dict[str, str]:
    """Return what is wrong with the database, without which nothing can be shown, and with the broker."""
    try:
        await services.control.stores.identity()
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
