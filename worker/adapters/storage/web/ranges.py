"""Parts of a file on a web server, by requests for ranges of one version of it."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Final

import httpx

from worker.adapters.storage.web.client import display_url, web_errors
from worker.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from io import FileIO

    from worker.core.spans import Span

    Ask = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[httpx.Response]]

RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class SpanCopy:
    """One span of a file of a known `version`, written at its own offset; a call goes on where the last one broke."""

    def __init__(self, url: str, version: str, span: Span, file: FileIO) -> None:
        self._url, self._version, self._file = url, version, file
        self._at, self._last = span

    async def receive(self, ask: Ask) -> None:
        """Write what is left; Unanswered for what may pass.

        StorageUnavailable for another version, another range than was asked for, or the whole file.
        """
        _, _, tag = self._version.partition("-")
        # RFC 9110 §13.1.1 compares strong tags alone; a date is compared by us.
        same = {"If-Match": tag} if tag.startswith('"') else {}
        headers = {"Range": f"bytes={self._at}-{self._last - 1}", **same}
        async with ask(self._url, headers) as response:
            shown = display_url(response.request.url)
            self._check(response, shown)
            with web_errors(shown):
                await self._take(response.aiter_raw())
        if self._at < self._last:
            raise StorageUnavailable(f"{shown} sent less than the range that it promised")

    def _check(self, response: httpx.Response, shown: str) -> None:
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            raise StorageUnavailable(f"{shown} sends no ranges")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise StorageUnavailable(f"{shown} sends its file encoded, though it was not asked to")
        size, _, tag = self._version.partition("-")
        found = RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or found.groups() != (str(self._at), str(self._last - 1), size):
            raise StorageUnavailable(f"{shown} answered with another range than was asked for")
        if (response.headers.get("ETag") or response.headers.get("Last-Modified", "")) != tag:
            raise StorageUnavailable(f"{shown} changed while it was read")

    async def _take(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            # What is sent beyond the range is not written: it might be anybody's else.
            piece = chunk[: self._last - self._at]
            await asyncio.to_thread(_write_at, self._file.fileno(), piece, self._at)
            self._at += len(piece)
            if self._at == self._last:
                return


def _write_at(file: int, piece: bytes, at: int) -> None:
    view = memoryview(piece)
    while view:
        count = os.pwrite(file, view, at)
        at, view = at + count, view[count:]
