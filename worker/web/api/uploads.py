"""Uploads: tus 1.0 to a folder below the NAS root, presigned multipart to a bucket."""

from __future__ import annotations

import base64
import binascii
from email.utils import formatdate
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field

from worker.core.errors import InvalidJob, Problem
from worker.core.location import External
from worker.core.ports.files import MultipartStore, MultipartUpload, Upload, UploadStore
from worker.web.dependencies import Here, Operator, audit_entry
from worker.web.problems import Refused, responses

router = APIRouter(tags=["uploads"])

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,expiration,termination"
PIECE: Final = "application/offset+octet-stream"
MAX_LINKS: Final = 100


class BucketUpload(BaseModel):
    """An upload that the browser sends to the bucket itself, in parts of this size."""

    uri: str
    upload_id: str
    part_bytes: int
    parts: dict[int, int] = Field(default_factory=dict, description="What is there: size by part, from 1.")


class BucketBegin(BaseModel):
    """A file that somebody wants to upload to the bucket."""

    name: str = Field(min_length=1, max_length=1000)
    bytes: int = Field(ge=1, le=1 << 50)


class BucketName(BaseModel):
    """The id of an upload."""

    uri: str = Field(min_length=1, max_length=4096)
    upload_id: str = Field(min_length=1, max_length=2000)


class BucketFinish(BucketName):
    """The id of an upload, and how many bytes it must have."""

    bytes: int = Field(ge=1, le=1 << 50)


class Uploaded(BaseModel):
    """The URI by which a job names what was uploaded."""

    uri: str


class Links(BaseModel):
    """By part, an address to which it can be PUT."""

    links: dict[int, str]


def _folder(here: Here) -> UploadStore:
    if here.uploads is None:
        raise Refused(HTTPStatus.NOT_FOUND, "this server takes no uploads: WORKER_NAS_ROOT is not set")
    return here.uploads


def _bucket(here: Here) -> MultipartStore:
    if here.multipart is None:
        raise Refused(HTTPStatus.NOT_FOUND, "this server has no bucket: neither WORKER_ROOTS nor its storage names one")
    return here.multipart


def _set_headers(response: Response, upload: Upload) -> None:
    response.headers["Tus-Resumable"] = VERSION
    response.headers["Upload-Offset"] = str(upload.offset)
    response.headers["Upload-Length"] = str(upload.bytes)
    response.headers["Upload-Expires"] = formatdate(upload.expires, usegmt=True)
    if upload.uri:
        response.headers["Upload-Uri"] = (
            upload.uri.encode().decode("latin-1", "replace") if upload.uri.isascii() else ""
        )
        response.headers["Upload-Uri-Base64"] = base64.b64encode(upload.uri.encode()).decode()


def _require_version(version: str | None) -> None:
    if version != VERSION:
        raise Refused(HTTPStatus.PRECONDITION_FAILED, f"Tus-Resumable must be {VERSION}", {"Tus-Version": VERSION})


def _name_in(metadata: str | None) -> str:
    """Return the file name in tus metadata: pairs of a key and its value in Base64, comma-separated."""
    for pair in (metadata or "").split(","):
        key, _, value = pair.strip().partition(" ")
        if key == "filename":
            try:
                return base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise InvalidJob([Problem("Upload-Metadata", "filename is no Base64 of UTF-8")]) from error
    return "upload"


@router.options("/uploads", status_code=204, summary="What uploads may be")
async def options(response: Response, here: Here) -> None:
    """Say which tus this is, and how large an upload may be."""
    response.headers["Tus-Resumable"] = response.headers["Tus-Version"] = VERSION
    response.headers["Tus-Extension"] = EXTENSIONS
    response.headers["Tus-Max-Size"] = str(here.settings.upload_bytes)


@router.post("/uploads", status_code=201, summary="Begin an upload (tus)", responses=responses(404, 412, 507))
async def begin(
    request: Request,
    response: Response,
    here: Here,
    who: Operator,
    upload_length: Annotated[int, Header(ge=1, le=1 << 50)],
    upload_metadata: Annotated[str | None, Header(max_length=4000)] = None,
    tus_resumable: Annotated[str | None, Header(max_length=10)] = None,
) -> None:
    """Answer with the upload's address in `Location`."""
    _require_version(tus_resumable)
    name = _name_in(upload_metadata)
    async with audit_entry(request, "upload.begin", name, bytes=upload_length):
        upload = await _folder(here).begin(name, upload_length, who.name)
    _set_headers(response, upload)
    response.headers["Location"] = str(request.url_for("offset", upload_id=upload.upload_id).path)


@router.head("/uploads/{upload_id}", summary="How much of an upload is there (tus)", responses=responses(404))
async def offset(response: Response, here: Here, _: Operator, upload_id: str) -> None:
    """Answer with the offset from which the upload goes on."""
    _set_headers(response, await _folder(here).get(upload_id))


@router.patch("/uploads/{upload_id}", status_code=204, summary="Send a piece (tus)", responses=responses(404, 412, 415))
async def append(
    request: Request,
    response: Response,
    here: Here,
    _: Operator,
    upload_id: str,
    upload_offset: Annotated[int, Header(ge=0, le=1 << 50)],
    content_type: Annotated[str | None, Header(max_length=100)] = None,
    tus_resumable: Annotated[str | None, Header(max_length=10)] = None,
) -> None:
    """Answer with the new offset; once all is there, `Upload-Uri-Base64` is what a job calls the file."""
    _require_version(tus_resumable)
    if content_type != PIECE:
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a piece is {PIECE}")
    upload = await _folder(here).append(upload_id, upload_offset, request.stream())
    if upload.complete:
        async with audit_entry(request, "upload.finish", upload.uri, bytes=upload.bytes):
            pass
    _set_headers(response, upload)


@router.delete("/uploads/{upload_id}", status_code=204, summary="Cancel an upload (tus)", responses=responses(404))
async def cancel(request: Request, response: Response, here: Here, _: Operator, upload_id: str) -> None:
    """Remove an upload that is not complete."""
    async with audit_entry(request, "upload.cancel", upload_id):
        await _folder(here).cancel(upload_id)
    response.headers["Tus-Resumable"] = VERSION


@router.post("/bucket-uploads", status_code=201, summary="Begin an upload to the bucket", responses=responses(404))
async def begin_bucket(request: Request, here: Here, _: Operator, asked: BucketBegin) -> BucketUpload:
    """Return the upload; its parts are PUT to the addresses that `links` gives."""
    async with audit_entry(request, "upload.begin", asked.name, bytes=asked.bytes):
        return _bucket_upload(await _bucket(here).begin(asked.name, asked.bytes))


@router.get("/bucket-uploads", summary="What is there of an upload to the bucket", responses=responses(404))
async def get_bucket(here: Here, _: Operator, asked: Annotated[BucketName, Query()]) -> BucketUpload:
    """Return the parts that are there."""
    return _bucket_upload(await _bucket(here).get(_place(here, asked.uri), asked.upload_id))


@router.get("/bucket-uploads/links", summary="Where parts go", responses=responses(404))
async def get_links(
    here: Here,
    _: Operator,
    asked: Annotated[BucketName, Query()],
    part: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Query(min_length=1, max_length=MAX_LINKS)],
) -> Links:
    """Return by part an address to which it can be PUT for some hours."""
    return Links(links=await _bucket(here).links(_place(here, asked.uri), asked.upload_id, tuple(part)))


@router.post("/bucket-uploads/finish", summary="Finish an upload to the bucket", responses=responses(404))
async def finish_bucket(request: Request, here: Here, _: Operator, asked: BucketFinish) -> Uploaded:
    """Return the object's URI; its parts must be as many bytes as were promised."""
    async with audit_entry(request, "upload.finish", asked.uri, bytes=asked.bytes):
        await _bucket(here).finish(_place(here, asked.uri), asked.upload_id, asked.bytes)
    return Uploaded(uri=asked.uri)


@router.post("/bucket-uploads/cancel", status_code=204, summary="Cancel an upload to the bucket")
async def cancel_bucket(request: Request, here: Here, _: Operator, asked: BucketName) -> None:
    """Remove the parts that are there."""
    async with audit_entry(request, "upload.cancel", asked.uri):
        await _bucket(here).cancel(_place(here, asked.uri), asked.upload_id)


def _place(here: Here, uri: str) -> External:
    return here.place(uri)


def _bucket_upload(upload: MultipartUpload) -> BucketUpload:
    return BucketUpload(
        uri=str(upload.place), upload_id=upload.upload_id, part_bytes=upload.part_bytes, parts=dict(upload.parts)
    )
