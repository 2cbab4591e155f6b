"""Option sets over the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from worker.control.option_sets import delete_option_set, get_option_set, list_option_sets, put_option_set
from worker.core.message.wire import parse
from worker.core.record import OptionSet
from worker.web.api.bodies import BODY
from worker.web.dependencies import Admin, Here, Viewer, audit_entry
from worker.web.problems import responses

router = APIRouter(tags=["option sets"])

Module = Annotated[str, Field(min_length=1, max_length=100)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


@router.get("/option-sets", summary="List the option sets")
async def get_all(
    here: Here, _: Viewer, module: Annotated[str | None, Query(max_length=100)] = None
) -> list[OptionSet]:
    """Return the option sets by module and name."""
    return await list_option_sets(here.control, module)


@router.get("/option-sets/{module}/{name:path}", summary="Look at an option set", responses=responses(404))
async def get_one(here: Here, _: Viewer, module: Module, name: Name) -> OptionSet:
    """Return one option set."""
    return await get_option_set(here.control, module, name)


@router.put(
    "/option-sets/{module}/{name:path}", summary="Store an option set", openapi_extra=BODY, responses=responses(404)
)
async def put_one(request: Request, here: Here, _: Admin, module: Module, name: Name) -> OptionSet:
    """Return the option set that is stored now; the body is its options."""
    document = parse(await request.body())
    async with audit_entry(request, "option-set.put", f"{module} {name}"):
        return await put_option_set(here.control, module, name, document)


@router.delete(
    "/option-sets/{module}/{name:path}", status_code=204, summary="Delete an option set", responses=responses(404)
)
async def delete_one(request: Request, here: Here, _: Admin, module: Module, name: Name) -> None:
    """Delete one option set."""
    async with audit_entry(request, "option-set.delete", f"{module} {name}"):
        await delete_option_set(here.control, module, name)
