"""Templates, and what every one of them may use."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context

from worker import __version__
from worker.core import figures
from worker.core.errors import LeveretError
from worker.core.record import STATES
from worker.core.routing import LANES, PRIORITIES
from worker.web import assets, formats
from worker.web.dependencies import principal_of, services_of
from worker.web.links import file_path
from worker.web.pages import navigation
from worker.web.problems import Refused, status_of
from worker.web.services import Services

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request
    from jinja2.runtime import Context
    from starlette.responses import Response

    from worker.web.access import Role

_STEERING: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates: everything that is put in is escaped, and a name that is missing is an error."""
    found = Environment(
        loader=PackageLoader("worker.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=harmless,
    )
    found.filters.update(
        span=figures.span,
        age=figures.age,
        size=figures.size,
        number=formats.number,
        clock=figures.moment,
        ago=ago,
        pretty=lambda value: json.dumps(value, ensure_ascii=False, indent=2, default=str),
        part=lambda text: quote(str(text), safe=""),
        shown=shown,
    )
    found.globals.update(version=__version__, between=formats.between, states=STATES, lanes=LANES)
    found.globals.update(priorities=PRIORITIES)
    return found


def harmless(value: object) -> object:
    """Return what is put into a page without letters that steer: controls, and what turns the direction of words."""
    if not isinstance(value, str) or not _STEERING.search(value):
        return value
    # A Markup stays one, which is not escaped again.
    return type(value)(_STEERING.sub("\ufffd", value))


def shown(text: object) -> str:
    """Return a foreign text without what would turn the direction of the page's own words."""
    return "".join(" " if letter in "\n\r\t" else letter if letter.isprintable() else "\ufffd" for letter in str(text))


@pass_context
def ago(context: Context, time: datetime | None) -> str:
    """Return how long ago a time was, by the clock that wrote it down."""
    return formats.ago(time, context["now"])


def draw(request: Request, template: str, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """Return a screen."""
    root = request.scope.get("root_path", "").rstrip("/")
    principal = principal_of(request)

    def to(path: str, **query: object) -> str:
        asked = {key: value for key, value in query.items() if value not in {None, ""}}
        return f"{root}{path}{'?' + urlencode(asked) if asked else ''}"

    def file(uri: str | None, kind: str = "through") -> str | None:
        path = file_path(services_of(request), uri, kind) if uri else None
        return f"{root}{path}" if path else None

    def may(role: Role) -> bool:
        return principal is not None and principal.may(role)

    here = values.pop("here", "")
    page = environment().get_template(template)
    common = {"to": to, "file": file, "may": may, "who": principal, "root": root}
    common |= {"screens": navigation.bar(here, may), "tabs": navigation.tabs(here, may)}
    services = request.app.state.services
    common["now"] = services.now if isinstance(services, Services) else datetime.now(UTC)
    common["zone"] = datetime.now().astimezone().tzname()
    common |= {"static": lambda name: f"{root}{assets.path_of(name)}", "players": assets.players(), "problems": ()}
    return HTMLResponse(page.render(**(common | {"notice": _notice(request)} | values)), status)


def _notice(request: Request) -> str:
    """Return what was done, as `act` says it in the address; nothing where a link of somebody else led here."""
    ours = request.headers.get("sec-fetch-site") in {"same-origin", None}
    return request.query_params.get("done", "") if ours else ""


def login_redirect(role: Role, request: Request) -> RedirectResponse | None:
    """Return where somebody who is not known is sent; None for who may see this. Refused for the wrong role."""
    principal = principal_of(request)
    if principal is None:
        root = request.scope.get("root_path", "").rstrip("/")
        path = request.url.path.removeprefix(root) + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{root}/login?{urlencode({'next': path})}", HTTPStatus.SEE_OTHER)
    if not principal.may(role):
        raise Refused(HTTPStatus.FORBIDDEN, f"this needs the role {role}; {principal.name} is {principal.role}")
    return None


def refusal(request: Request, error: LeveretError, back: str = "", here: str = "") -> Response:
    """Return the screen that says why something was not shown or done; its link goes to `back`."""
    reading = request.method in {"GET", "HEAD"}
    status = status_of(error)
    if status == HTTPStatus.NOT_FOUND:
        heading = "Not found"
    else:
        heading = "That cannot be shown" if reading else "That was not done"
    found = draw(
        request,
        "refused.html",
        status,
        heading=heading,
        problem=formats.sentence(error),
        faults=getattr(error, "problems", ()),
        back=back or ("/" if reading else request.url.path),
        here=here or back,
    )
    if isinstance(error, Refused):
        found.headers.update(error.headers)
    return found


async def act(request: Request, role: Role, work: Callable[[], Awaitable[tuple[str, str]]], *, back: str) -> Response:
    """Do what a form asked for; go to the screen that `work` names with what was done, or say why it was not."""
    if away := login_redirect(role, request):
        return away
    root = request.scope.get("root_path", "").rstrip("/")
    try:
        path, notice = await work()
    except LeveretError as error:
        return refusal(request, error, back)
    query = f"{'&' if '?' in path else '?'}{urlencode({'done': notice})}" if notice else ""
    return RedirectResponse(f"{root}{path}{query}", HTTPStatus.SEE_OTHER)
