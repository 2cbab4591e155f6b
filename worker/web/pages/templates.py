"""Templates: what there is, what one makes of a source, and jobs of many sources."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from worker.control.intake.batches import Report, expand, submit_all
from worker.control.intake.blueprint import Skip
from worker.control.intake.templates import blueprint_of, delete_template, list_templates, put_template, render
from worker.core.errors import InvalidJob, LeveretError, Problem
from worker.core.message.wire import parse
from worker.web.api.templates import MOST
from worker.web.dependencies import audit_entry, services_of
from worker.web.pages.rendering import act, draw, login_redirect
from worker.web.problems import status_of

router = APIRouter()

SCREEN = "/templates"


@router.get(SCREEN)
async def get_templates(
    request: Request,
    name: Annotated[str, Query(max_length=64)] = "",
    source: Annotated[str, Query(max_length=4096)] = "",
) -> Response:
    """Draw the templates, and the form of one."""
    if away := login_redirect("operator", request):
        return away
    return await _template_page(request, name, source)


async def _template_page(request: Request, name: str, source: str, **values: Any) -> Response:
    here = services_of(request)
    shown: dict[str, Any] = {"status": 200, "variables": "", "run": None, "report": None, "problems": []} | values
    status = shown.pop("status")
    try:
        found = await list_templates(here.control)
    except LeveretError as error:
        found, shown["problems"] = [], [*shown["problems"], str(error)]
    chosen = next((one for one in found if one.name == name), None)
    return draw(
        request,
        "templates.html",
        status,
        here=SCREEN,
        templates=found,
        chosen=chosen,
        name=name,
        source=source,
        **shown,
    )


@router.post(SCREEN)
async def post_templates(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    source: Annotated[str, Form(max_length=20_000)] = "",
    variables: Annotated[str, Form(max_length=20_000)] = "",
    action: Annotated[str, Form(pattern="^(try|submit)$")] = "try",
) -> Response:
    """Say what the template makes of the source, or submit a job of each."""
    if away := login_redirect("operator", request):
        return away
    control = services_of(request).control
    sources = [line.strip() for line in source.splitlines() if line.strip()]
    try:
        given = values_of(variables)
        if action == "try":
            found = await render(control, name, sources[0] if sources else None, given)
            run = {
                "reason": found.reason if isinstance(found, Skip) else "",
                "text": "" if isinstance(found, Skip) else _pretty(found.document),
            }
            return await _template_page(request, name, source, variables=variables, run=run)
        blueprint = await blueprint_of(control, name)
        report = Report()
        async with audit_entry(request, "template.submit", name) as noted:
            async for outcome in submit_all(control, blueprint, await expand(control, sources), given, limit=MOST):
                report.add(outcome)
            noted |= {"submitted": report.submitted, "skipped": report.skipped, "failed": report.failed}
    except LeveretError as error:
        faults = [str(problem) for problem in getattr(error, "problems", ())] or [str(error)]
        return await _template_page(
            request, name, source, variables=variables, problems=faults, status=status_of(error)
        )
    return await _template_page(request, name, source, variables=variables, report=report)


def values_of(text: str) -> dict[str, str]:
    """Return the variables in lines of `key = value`; InvalidJob for a line that is none."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InvalidJob([Problem(f"line {number}", "is not key = value")])
        values[key.strip()] = value.strip()
    return values


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


@router.post("/templates/stored")
async def post_stored(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    document: Annotated[str, Form(max_length=1_100_000)] = "",
    action: Annotated[str, Form(pattern="^(put|delete)$")] = "put",
) -> Response:
    """Store or delete a template."""

    async def work() -> tuple[str, str]:
        control = services_of(request).control
        async with audit_entry(request, f"template.{action}", name):
            if action == "delete":
                await delete_template(control, name)
                return SCREEN, f"{name} is deleted."
            stored = await put_template(control, name, parse(document.encode("utf-8", "replace")))
        return SCREEN, f"{name} is stored as version {stored.version}."

    return await act(request, "admin", work, back=SCREEN)
