"""An HTTP client that reaches public addresses only, and the very ones that it has looked at."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import httpx
import tenacity

from worker.adapters.resolving import Unresolved, addresses_of
from worker.core.addresses import is_public
from worker.core.errors import RefusedPath, SourceMissing, StorageUnavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

MAX_REDIRECTS: Final = 5
_PASSING: Final = frozenset({408, 421, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})
_GONE: Final = frozenset({404, 410})
_HOST: Final = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")
_QUICKLY: Final = 3.0
"""The seconds that somebody who submits a job waits for a name to be looked up."""
USER_AGENT: Final = "leveret"
# One connection a request: a kept one would be shared by every name on its address, unseen by TLS.
_LIMITS: Final = httpx.Limits(max_connections=16, max_keepalive_connections=0)


class Unanswered(Exception):
    """The server or the way to it failed in a manner that may pass within seconds: repeated, then raised as ours."""


class PinnedTransport(httpx.AsyncBaseTransport):
    """Connects to the address that was checked, whatever the name means a moment later.

    A name that leads to any address that is not public is refused as a whole: RefusedPath. TLS still proves the
    name, and the Host header keeps it.
    """

    def __init__(self, permitted: Callable[[str], bool], tls: ssl.SSLContext | None = None) -> None:
        self._permitted = permitted
        self._inner = httpx.AsyncHTTPTransport(verify=True if tls is None else tls, limits=_LIMITS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer of the first address that takes the connection."""
        name = request.url.raw_host.decode("ascii")
        try:
            addresses = await addresses_of(name, self._permitted)
        except Unresolved as error:
            raise Unanswered(str(error)) from error
        extensions = {**request.extensions, "sni_hostname": name}
        for address in addresses:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise StorageUnavailable(f"{name} has no address")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def refusal_of(text: str, *, allow_private: bool) -> str | None:
    """Return why a URL is refused, None where it is not, or its name is not known here."""
    try:
        url = checked_url(text, allow_private=allow_private)
        if not allow_private:
            async with asyncio.timeout(_QUICKLY):
                await addresses_of(url.raw_host.decode("ascii"), is_public)
    except RefusedPath as error:
        return str(error)
    except (Unresolved, TimeoutError):
        return None
    return None


def checked_url(text: str, *, allow_private: bool) -> httpx.URL:
    """Return the URL that `text` is; RefusedPath unless it is https with a host, and nobody's name in it.

    `http` is taken only where private addresses are: on the Internet anybody on the way could change the file.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        # Neither the text nor httpx's words: `https://user:pa/ss@host/` has its password where a port would be.
        raise RefusedPath(f"a text of {len(text)} characters that begins with {text[:8]!r} is no URL") from error
    shown = display_url(url)
    if url.scheme != "https" and not (url.scheme == "http" and allow_private):
        raise RefusedPath(f"{shown}: only https is taken (http too where private addresses are allowed)")
    if url.port is not None and not 0 < url.port <= 65535:  # noqa: PLR2004 - TCP's ports
        raise RefusedPath(f"{shown}: there is no such port")
    if url.userinfo:
        raise RefusedPath(f"{shown}: a URL with a user name or password in it is refused")
    if not _HOST.fullmatch(url.raw_host.decode("ascii")):
        raise RefusedPath(f"{shown}: there is no host, or one that is no name")
    return url


def display_url(url: httpx.URL) -> str:
    """Return a URL as people may see it: a query may hold a signature, userinfo a password."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


@contextmanager
def web_errors(shown: str) -> Iterator[None]:
    """Yield nothing; what httpx raises inside is Unanswered where it may pass, RefusedPath where it cannot."""
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise RefusedPath(f"{shown}: {error}") from error
    except httpx.TimeoutException as error:
        raise Unanswered(f"{shown} did not answer in time") from error
    except httpx.TransportError as error:
        raise Unanswered(f"{shown}: {error or type(error).__name__}") from error
    except httpx.HTTPError as error:
        raise StorageUnavailable(f"{shown}: {error or type(error).__name__}") from error


def anywhere(address: str) -> bool:
    """Return True: private addresses are allowed, so every one is."""
    del address
    return True


def make_client(
    permitted: Callable[[str], bool] = is_public, *, seconds: float, tls: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    """Return a client without proxies, cookies from before, or redirects of its own; `seconds` for each step.

    It connects to addresses that are `permitted`.
    """
    return httpx.AsyncClient(
        transport=PinnedTransport(permitted, tls),
        timeout=seconds,
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
    )


def retrying(attempts: int, first_wait: float) -> tenacity.AsyncRetrying:
    """Return what repeats a call while it is Unanswered, waiting longer each time, and raises the last one."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(Unanswered),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential_jitter(multiplier=first_wait, max=30.0, jitter=first_wait),
        reraise=True,
    )


def require_success(status: int, shown: str) -> None:
    """Return if an answer's status says success; Unanswered for one that may pass."""
    if status in _GONE:
        raise SourceMissing(f"{shown} does not exist (HTTP {status})")
    if status in _PASSING:
        raise Unanswered(f"{shown} answered HTTP {status}")
    if not httpx.codes.is_success(status):
        raise StorageUnavailable(f"{shown} answered HTTP {status}")
