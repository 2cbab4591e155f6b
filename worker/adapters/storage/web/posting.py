"""Documents that are POSTed to an address which a job names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import httpx

from worker.adapters.storage.web.client import (
    Unanswered,
    anywhere,
    checked_url,
    display_url,
    make_client,
    require_success,
    retrying,
    web_errors,
)
from worker.core.addresses import is_public
from worker.core.errors import SourceMissing, StorageUnavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


async def post_json(
    url: str,
    document: str,
    *,
    allow_private: bool = False,
    seconds: float = 10.0,
    attempts: int = 5,
    first_wait: float = 1.0,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Return when the server has taken `document`; as `JsonPoster`, with a client for this once."""
    poster = JsonPoster(allow_private=allow_private, seconds=seconds, attempts=attempts, first_wait=first_wait, tls=tls)
    try:
        await poster(url, document, headers)
    finally:
        await poster.close()


class JsonPoster:
    """POSTs JSON documents through one client, which is made at the first.

    Repeated, with growing waits, while the server is away or busy. StorageUnavailable in the end, or at once for any
    other answer; RefusedPath for an address that is not public, unless allowed. Any 2xx counts as taken, redirects are
    not followed.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        seconds: float = 10.0,
        attempts: int = 5,
        first_wait: float = 1.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._attempts = attempts
        self._first_wait = first_wait
        self._make = partial(make_client, anywhere if allow_private else is_public, seconds=seconds, tls=tls)
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, url: str, document: str, headers: Mapping[str, str] | None = None) -> None:
        """Return when the server has taken `document`, a JSON text; `headers` go with it."""
        target = checked_url(url, allow_private=self._allow_private)
        if self._client is None:
            self._client = self._make()
        try:
            sent = httpx.Headers({"Content-Type": "application/json", **(headers or {})})
            await retrying(self._attempts, self._first_wait)(_post_once, self._client, target, document.encode(), sent)
        except (Unanswered, SourceMissing) as error:
            raise StorageUnavailable(str(error)) from error

    async def close(self) -> None:
        """Close the client."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def _post_once(client: httpx.AsyncClient, target: httpx.URL, body: bytes, headers: httpx.Headers) -> None:
    with web_errors(display_url(target)):
        request = client.build_request("POST", target, content=body, headers=headers)
        # The body of the answer is never read: its length is the other side's to choose.
        response = await client.send(request, stream=True)
        await response.aclose()
    if response.is_redirect:
        raise StorageUnavailable(f"{display_url(target)} answered with a redirect, which a callback does not follow")
    require_success(response.status_code, display_url(target))
