"""Files that are read over HTTPS, and the callback that is posted there."""

from __future__ import annotations

import asyncio
import errno
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import httpx

from worker.adapters.storage.web.client import (
    MAX_REDIRECTS,
    Unanswered,
    anywhere,
    checked_url,
    display_url,
    make_client,
    require_success,
    retrying,
    web_errors,
)
from worker.adapters.storage.web.ranges import RANGE, SpanCopy
from worker.core.addresses import is_public
from worker.core.errors import BadInput, DiskFull, RefusedPath, SourceMissing, StorageUnavailable, TimedOut
from worker.core.ports import Stat

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from io import FileIO
    from pathlib import Path

    import tenacity

    from worker.core.attempt import Artifact
    from worker.core.location import External
    from worker.core.ports import Confirm
    from worker.core.spans import Span

_STAT_SECONDS: Final = 300.0
"""In how long a server must have said what a file is, redirects and repetitions included."""


@dataclass(slots=True)
class _Copy:
    """The state of a download: bytes on disk, how many there will be, and what proves that it is the same file."""

    received: int = 0
    total: int | None = None
    validator: str | None = None


class WebSource:
    """The schemes `https` and, where private addresses are allowed, `http`; only to read.

    `seconds` bounds each step (connect, a silent server), `total_seconds` the whole file, `max_bytes` its size.
    A download that breaks is taken up where it broke, `attempts` times in all.
    """

    schemes = frozenset({"https", "http"})

    def __init__(
        self,
        *,
        allow_private: bool = False,
        max_bytes: int = 1 << 40,
        seconds: float = 30.0,
        total_seconds: float = 12 * 3600.0,
        attempts: int = 6,
        first_wait: float = 0.5,
        permitted: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._permitted = anywhere if allow_private else permitted
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._total_seconds = total_seconds
        self._attempts = attempts
        self._first_wait = first_wait
        self._tls = tls

    def admit(self, place: External, *, writing: bool) -> External:
        """Return `place`; RefusedPath for writing, plain http, and addresses that are not public.

        A name is looked up, and judged, at each request.
        """
        if writing:
            raise RefusedPath(f"{self.url(place)} can only be read; write to nas://, s3:// or a folder")
        url = checked_url(str(place), allow_private=self._allow_private)
        literal = re.fullmatch(r"[0-9a-f.:]*[.:][0-9a-f.:]*", url.host) if re.search(r":|\.\d+$", url.host) else None
        if literal and not self._permitted(url.host):
            raise RefusedPath(f"{self.url(place)} is on no public address")
        return place

    def admit_folder(self, folder: External) -> External:
        """Raise RefusedPath: there are no folders on the web."""
        raise RefusedPath(f"{self.url(folder)} is no folder: write nas://, s3:// or an absolute path")

    def url(self, place: External) -> str:
        """Return the URL without its query, which may hold a signature."""
        return f"{place.scheme}://{place.host.partition('?')[0]}{place.path.partition('?')[0]}"

    async def listing(self, folder: External) -> tuple[External, ...]:
        """Raise RefusedPath: a web server has no folders to list."""
        raise RefusedPath(f"{folder}: the files of a web server cannot be listed")

    async def stat(self, place: External) -> Stat | None:
        """Return size (0 where the server does not tell it) and media type, or None."""
        self.admit(place, writing=False)
        try:
            # A head that comes byte by byte keeps the limit of each step for days.
            async with asyncio.timeout(min(_STAT_SECONDS, self._total_seconds)):
                return await self._retrying()(self._stat, place)
        except TimeoutError as error:
            raise StorageUnavailable(f"{self.url(place)} did not say in time what it is") from error
        except Unanswered as error:
            raise StorageUnavailable(str(error)) from error
        except SourceMissing:
            return None

    async def _stat(self, place: External) -> Stat:
        # GET, for signed URLs are signed for it, and some servers answer HEAD with nothing.
        async with self._answer(str(place), {"Range": "bytes=0-0"}) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return Stat(0)
            match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
            size = int(match[3]) if match else _length(response) or 0
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip() or None
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
            return Stat(size, media_type, f"{size}-{tag}")

    async def fetch(self, place: External, into: Path) -> Path:
        """Return `into`, a complete copy: as many bytes as the server promised, of one version of the file.

        BadInput when it is larger than allowed, TimedOut when it takes longer.
        """
        self.admit(place, writing=False)
        part, copy = into.with_name(into.name + ".part"), _Copy()
        try:
            async with self._bounded(place):
                into.parent.mkdir(parents=True, exist_ok=True)
                await self._retrying()(self._receive, place, part, copy)
                part.replace(into)
        except Unanswered as error:
            raise StorageUnavailable(f"{error} ({copy.received} bytes had come)") from error
        finally:
            part.unlink(missing_ok=True)
        return into

    async def fetch_spans(self, place: External, version: str, spans: Sequence[Span], into: Path) -> None:
        """Write spans of a file into `into` at their own offsets, all of one version; a break is taken up."""
        self.admit(place, writing=False)
        async with self._bounded(place):
            with into.open("r+b", buffering=0) as file:
                for span in spans:
                    copy = SpanCopy(str(place), version, span, file)
                    try:
                        await self._retrying()(copy.receive, self._answer)
                    except Unanswered as error:
                        raise StorageUnavailable(str(error)) from error

    @asynccontextmanager
    async def _bounded(self, place: External) -> AsyncIterator[None]:
        """End the body with TimedOut when it takes too long; what the disk says becomes ours."""
        try:
            async with asyncio.timeout(self._total_seconds):
                yield
        except TimeoutError as error:
            raise TimedOut(f"{self.url(place)} was not here within {self._total_seconds:.0f} s") from error
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise DiskFull(f"{self.url(place)}: no space is left for its copy in scratch") from error
            raise StorageUnavailable(f"{self.url(place)}: {error.strerror or error}") from error

    def _retrying(self) -> tenacity.AsyncRetrying:
        return retrying(self._attempts, self._first_wait)

    async def _receive(self, place: External, part: Path, copy: _Copy) -> None:
        headers = {}
        if copy.received and copy.validator:
            headers = {"Range": f"bytes={copy.received}-", "If-Range": copy.validator}
        async with self._answer(str(place), headers) as response:
            self._begin(response, copy, display_url(response.request.url))
            with part.open("r+b" if copy.received else "wb", buffering=0) as file:
                file.seek(copy.received)
                await self._take(response, file, copy, display_url(response.request.url))
        if copy.total is not None and copy.received != copy.total:
            raise Unanswered(f"{self.url(place)} broke off at {copy.received} of {copy.total} bytes")

    def _begin(self, response: httpx.Response, copy: _Copy, shown: str) -> None:
        """Set `copy` to where this answer begins; Unanswered or StorageUnavailable when it cannot be trusted."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise StorageUnavailable(f"{shown} sends its file encoded, though it was not asked to")
        if response.status_code in {httpx.codes.PARTIAL_CONTENT, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}:
            match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
            fits = match is not None and int(match[1]) == copy.received and copy.total in {None, int(match[3])}
            if match is None or not fits or not copy.received:
                copy.received = 0
                copy.validator = None
                raise Unanswered(f"{shown} answered with another range than was asked for")
            copy.total = int(match[3])
            return
        copy.received = 0
        copy.total = _length(response)
        tag = response.headers.get("ETag", "")
        # RFC 9110 §13.1.5: a weak tag proves nothing about single bytes.
        copy.validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        if copy.total is None and "chunked" not in response.headers.get("Transfer-Encoding", ""):
            raise StorageUnavailable(f"{shown} does not say how long the file is, so that half of it would look whole")
        if copy.total is not None and copy.total > self._max_bytes:
            raise BadInput(f"{shown} is {copy.total} bytes; at most {self._max_bytes} are accepted")

    async def _take(self, response: httpx.Response, file: FileIO, copy: _Copy, shown: str) -> None:
        with web_errors(shown):
            async for chunk in response.aiter_raw():
                if copy.received + len(chunk) > min(self._max_bytes, copy.total or self._max_bytes):
                    raise BadInput(f"{shown} sends more than {copy.total or self._max_bytes} bytes")
                await asyncio.to_thread(_write_all, file, chunk)
                copy.received += len(chunk)

    @asynccontextmanager
    async def _answer(self, text: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """Yield the answer at the end of at most five redirects, each judged like the first address."""
        async with make_client(self._permitted, seconds=self._seconds, tls=self._tls) as client:
            for _ in range(MAX_REDIRECTS + 1):
                url = checked_url(text, allow_private=self._allow_private)
                with web_errors(display_url(url)):
                    response = await client.send(client.build_request("GET", url, headers=headers), stream=True)
                try:
                    if not response.has_redirect_location:
                        # Of an empty file there is no first byte, and of a shorter one nothing to resume.
                        if response.status_code != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE or not headers:
                            require_success(response.status_code, display_url(url))
                        yield response
                        return
                finally:
                    await response.aclose()
                text = urljoin(str(url), response.headers["Location"])
        raise StorageUnavailable(f"{display_url(url)}: more than {MAX_REDIRECTS} redirects")

    async def stage(self, artifacts: Sequence[Artifact]) -> None:
        """Refuse: RefusedPath for anything at all."""
        _refuse(artifacts)

    async def reveal(self, artifacts: Sequence[Artifact], confirm: Confirm) -> None:
        """Refuse: RefusedPath for anything at all."""
        del confirm
        _refuse(artifacts)

    async def discard(self, artifacts: Sequence[Artifact]) -> None:
        """Return: nothing can have been staged here."""

    async def sweep(self, place: External, job_id: str) -> None:
        """Return: nothing of ours can lie there."""

    async def delete(self, place: External) -> None:
        """Refuse: RefusedPath."""
        raise RefusedPath(f"{self.url(place)} can only be read, not deleted")

    async def check(self) -> None:
        """Return: there is no server that must always be there."""


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _write_all(file: FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _refuse(artifacts: Sequence[Artifact]) -> None:
    if artifacts:
        raise RefusedPath(f"{artifacts[0].uri} can only be read; write to nas://, s3:// or a folder")
