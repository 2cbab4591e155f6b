"""A file as an answer: ranges, its type, and nothing in it that could act as a page of ours."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from fastapi.responses import RedirectResponse, Response, StreamingResponse

from worker.web.problems import Refused
from worker.web.ranges import Part, Unsatisfiable, part_of, still_is

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request
    from starlette.types import Receive, Scope, Send

    from worker.core.location import External
    from worker.core.ports.files import OpenFile
    from worker.web.services import Services

LINK_SECONDS: Final = 3600
SHOWN: Final = (
    "video/", "audio/", "image/jpeg", "image/png", "image/webp", "image/avif", "image/gif", "text/vtt", "text/plain",
    "application/vnd.apple.mpegurl", "application/dash+xml", "application/json", "font/",
)  # fmt: skip
"""Media types that a browser shows without running anything; all others are saved."""
POLICY: Final = "sandbox; default-src 'none'; media-src 'self'; img-src 'self'"


async def send_file(request: Request, here: Services, place: External, *, through: bool) -> Response:
    """Return the file, or the part of it that was asked for.

    An object in a bucket is sent by the bucket, to which the browser is redirected; with `through` it passes us.
    """
    reader = here.reader(place)
    if not through and (link := await reader.link(place, LINK_SECONDS)):
        # The link is a secret for an hour: nobody may keep it, nor send it on as where they came from.
        return RedirectResponse(
            link, HTTPStatus.TEMPORARY_REDIRECT, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )
    file = await reader.open(place)
    try:
        return _answer(request, file, place)
    except BaseException:
        await file.close()
        raise


def _answer(request: Request, file: OpenFile, place: External) -> Response:
    headers = _headers(file, place)
    # a server sends none of a HEAD's bytes, but would read them all
    bare = request.method == "HEAD"
    wanted = request.headers.get("if-none-match", "")
    if f'"{file.etag}"' in {part.strip() for part in wanted.split(",")}:
        return _Closing(file, Part(0, 0), HTTPStatus.NOT_MODIFIED, headers, file.media_type)
    try:
        part = part_of(request.headers.get("range"), file.size)
    except Unsatisfiable as error:
        raise Refused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the file has {file.size} bytes",
            {"Content-Range": f"bytes */{file.size}"},
        ) from error
    if part is None or not still_is(request.headers.get("if-range"), file.etag, file.modified):
        whole = Part(0, file.size)
        headers |= {"Content-Length": str(file.size)}
        return _Closing(file, Part(0, 0) if bare else whole, HTTPStatus.OK, headers, file.media_type)
    headers |= {
        "Content-Range": f"bytes {part.start}-{part.start + part.length - 1}/{file.size}",
        "Content-Length": str(part.length),
    }
    return _Closing(file, Part(0, 0) if bare else part, HTTPStatus.PARTIAL_CONTENT, headers, file.media_type)


def _headers(file: OpenFile, place: External) -> dict[str, str]:
    kind = "inline" if file.media_type.startswith(SHOWN) else "attachment"
    return {
        "Accept-Ranges": "bytes",
        "ETag": f'"{file.etag}"',
        "Last-Modified": formatdate(file.modified, usegmt=True),
        # A playlist that is replaced must be seen within seconds; the ETag spares the rest.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"{kind}; filename*=UTF-8''{quote(place.name, safe='')}",
        "Content-Security-Policy": POLICY,
    }


class _Closing(StreamingResponse):
    """Sends a part of a file and closes it, whatever becomes of the connection."""

    def __init__(
        self, file: OpenFile, part: Part, status: HTTPStatus, headers: dict[str, str], media_type: str
    ) -> None:
        self._file = file
        kind = "text/plain; charset=utf-8" if media_type.startswith("text/plain") else media_type
        super().__init__(_pieces(file, part), status, headers, kind)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._file.close()


async def _pieces(file: OpenFile, part: Part) -> AsyncIterator[bytes]:
    async for piece in file.read(part.start, part.length):
        yield piece
