"""A new job: a form made from a module's schema, the message beside it, and what would become of it."""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from worker.control.query import find_job
from worker.control.schemas import module_schema
from worker.control.submit import submit
from worker.core.errors import LeveretError
from worker.web.api.documents import summary_of
from worker.web.api.files import browse, roots_of
from worker.web.dependencies import audit_entry, services_of
from worker.web.dry_run import dry_run
from worker.web.guard import POLICY
from worker.web.pages.rendering import draw, login_redirect
from worker.web.problems import status_of

router = APIRouter()

EXAMPLES: dict[str, dict[str, Any]] = {
    "hls": {"source": "nas://film.mkv"},
    "probe": {"source": "nas://film.mkv"},
    "thumbnail": {"source": "nas://film.mkv", "output_file": "poster.jpg"},
}
"""The first content of the form: the smallest message that could run."""


@router.get("/new")
async def get_new(
    request: Request,
    module: Annotated[str, Query(max_length=100)] = "",
    again: Annotated[str, Query(max_length=128)] = "",
    source: Annotated[str, Query(max_length=4096)] = "",
) -> Response:
    """Draw the form; `again` begins with the message of another job."""
    if away := login_redirect("operator", request):
        return away
    here = services_of(request)
    text, problems = "", []
    if again:
        try:
            record = await find_job(here.control, again)
            kept = {key: value for key, value in record.document.items() if key != "job_id"}
            text, module = _pretty(kept), str(kept.get("tasks", [{}])[0].get("module", ""))
        except LeveretError as error:
            problems = [str(error)]
    if not text:
        module = module if module in here.registry.tasks else "hls"
        data = dict(EXAMPLES.get(module, {}))
        if source:
            data |= _source_of(module_schema(here.registry, module), source)
        text = _pretty({"job_title": "", "tasks": [{"module": module, "data": data}]})
    return await _with_bucket(request, _form_page(request, text, module, problems=problems))


def _source_of(schema: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the data that names a source, as the module calls it."""
    names = schema.get("properties", {})
    return {"source": source} if "source" in names else {"sources": [source]} if "sources" in names else {}


async def _with_bucket(request: Request, response: Response) -> Response:
    """Return the screen, which may send parts of uploads to the bucket where that is where they go."""
    here = services_of(request)
    if here.multipart is not None and here.uploads is None:
        with suppress(LeveretError):
            response.headers["Content-Security-Policy"] = POLICY.format(connect=f" {await here.multipart.origin()}")
    return response


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _form_page(request: Request, text: str, module: str, **values: Any) -> Response:
    here = services_of(request)
    tasks = here.registry.tasks
    modules = [(name, summary_of(tasks[name])) for name in sorted(tasks)]
    schema = module_schema(here.registry, module) if module in tasks else {}
    shown = {"run": None, "status": 200} | values
    status = shown.pop("status")
    return draw(
        request, "new.html", status, here="/new", text=text, module=module, modules=modules, schema=schema,
        uploads=here.uploads is not None, bucket=here.multipart is not None, roots=roots_of(here), **shown,
    )  # fmt: skip


@router.post("/new")
async def post_new(
    request: Request,
    text: Annotated[str, Form(max_length=1_100_000)] = "",
    action: Annotated[str, Form(pattern="^(try|submit)$")] = "try",
    module: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Say what would become of the message, or submit it and go to its job."""
    if away := login_redirect("operator", request):
        return away
    here = services_of(request)
    body = text.encode("utf-8", "replace")
    try:
        if action == "try":
            return await _with_bucket(
                request, _form_page(request, text, module, run=await dry_run(here, body, rehearse=True))
            )
        async with audit_entry(request, "job.submit", "") as noted:
            done = await submit(here.control, body)
            noted["job_id"] = done.record.job_id
    except LeveretError as error:
        faults = [str(problem) for problem in getattr(error, "problems", ())] or [str(error)]
        return await _with_bucket(request, _form_page(request, text, module, problems=faults, status=status_of(error)))
    root = request.scope.get("root_path", "").rstrip("/")
    notice = " ".join(done.warnings) or "The job is submitted."
    return RedirectResponse(
        f"{root}/jobs/{quote(done.record.job_id)}?{urlencode({'done': notice})}", HTTPStatus.SEE_OTHER
    )


@router.get("/new/browse")
async def get_browse(
    request: Request,
    folder: Annotated[str, Query(max_length=4096)] = "",
    module: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Draw what is in a folder, each file a link that names it as the source of the module."""
    if away := login_redirect("operator", request):
        return away
    here = services_of(request)
    try:
        found = await browse(here, folder) if folder else None
    except LeveretError as error:
        return draw(
            request,
            "browse.html",
            status_of(error),
            here="/new",
            folder=None,
            module=module,
            roots=roots_of(here),
            problems=[str(error)],
        )
    return draw(request, "browse.html", here="/new", folder=found, module=module, roots=roots_of(here))
