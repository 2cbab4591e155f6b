"""Files over the API: the roots, what is in them, and the files themselves."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from worker.core.location import External, parse_location
from worker.web.dependencies import Here, Operator, Viewer
from worker.web.file_answers import send_file
from worker.web.links import place_of
from worker.web.problems import responses

router = APIRouter(tags=["files"])

MAX_ENTRIES = 2000


class EntryDocument(BaseModel):
    """One name in a folder, and the URI by which a job names it."""

    name: str
    uri: str
    folder: bool
    bytes: int | None = None
    modified: float | None = None


class Folder(BaseModel):
    """A folder, the one above it where people may look there, and what is in it."""

    uri: str
    above: str | None = None
    entries: list[EntryDocument]
    more: bool = False


@router.get("/roots", summary="List the folders that jobs may touch")
async def get_roots(here: Here, _: Operator) -> list[str]:
    """Return the roots of this server."""
    return roots_of(here)


def roots_of(here: Here) -> list[str]:
    """Return the roots of this server, each once."""
    return list(dict.fromkeys(str(place) for reader in here.readers.values() for place in reader.folders))


@router.get("/browse", summary="Look into a folder", responses=responses(404))
async def get_browse(here: Here, _: Operator, folder: Annotated[str, Query(min_length=1, max_length=4096)]) -> Folder:
    """Return what is in a folder below the roots."""
    return await browse(here, folder)


async def browse(here: Here, folder: str) -> Folder:
    """Return what is in a folder; hidden names and links are left out."""
    named = here.place(folder.rstrip("/") + "/") if not folder.endswith("://") else parse_location(folder + "/")
    place = named if isinstance(named, External) else here.place(folder)
    found = await here.reader(place).entries(place, MAX_ENTRIES + 1)
    entries = [
        EntryDocument(
            name=one.name,
            uri=str(place.joined(one.name)) + ("/" if one.is_folder else ""),
            folder=one.is_folder,
            bytes=one.bytes,
            modified=one.modified,
        )
        for one in found[:MAX_ENTRIES]
    ]
    return Folder(uri=str(place), above=_above(here, place), entries=entries, more=len(found) > MAX_ENTRIES)


def _above(here: Here, place: External) -> str | None:
    if str(place) in roots_of(here):
        return None
    return str(External(place.scheme, place.host, place.path.rstrip("/").rpartition("/")[0] + "/"))


BINARY: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get(
    "/files/{scheme}/{path:path}",
    summary="Get a file, or a part of it",
    response_class=Response,
    responses=responses(
        404, 416, _200=BINARY, _206=BINARY | {"description": "A part"}, _307={"description": "The bucket sends it"}
    ),
)
@router.head("/files/{scheme}/{path:path}", include_in_schema=False)
async def get_file(request: Request, here: Here, _: Viewer, scheme: str, path: str) -> Response:
    """Return a file inside the roots; an object in a bucket is sent by the bucket, by a link for an hour."""
    return await send_file(request, here, place_of(here, scheme, path), through=False)


@router.get(
    "/through/{scheme}/{path:path}",
    summary="Get a file through this server",
    response_class=Response,
    responses=responses(404, 416, _200=BINARY, _206=BINARY | {"description": "A part"}),
)
@router.head("/through/{scheme}/{path:path}", include_in_schema=False)
async def get_through(request: Request, here: Here, _: Viewer, scheme: str, path: str) -> Response:
    """Return a file inside the roots; an object in a bucket passes through this server, as players need it."""
    return await send_file(request, here, place_of(here, scheme, path), through=True)
