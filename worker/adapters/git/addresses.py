"""The addresses that a clone may connect to."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from worker.adapters.git.errors import display_url
from worker.core.errors import RefusedPath, RemoteUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

RESOLVE_SECONDS: Final = 20.0
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+", re.IGNORECASE)


async def pin_addresses(url: str, permitted: Callable[[str], bool]) -> str:
    """Return where curl shall connect for this URL: to the very addresses that were looked at.

    RefusedPath for a URL that is no plain https one, or that leads to an address that is not `permitted`;
    RemoteUnavailable when its name is not known now.
    """
    host, port = _host_of(url)
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise RemoteUnavailable(f"the name {host} was not looked up in time") from error
    except socket.gaierror as error:
        raise RemoteUnavailable(f"the name {host} is not known") from error
    except UnicodeError as error:
        raise RefusedPath(f"{host[:100]!r} is no host name") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if refused := [address for address in addresses if not permitted(address)]:
        raise RefusedPath(f"{host} leads to {refused[0]}, which is no public address")
    shown = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
    return f"{host}:{port}:{shown}"


def _host_of(url: str) -> tuple[str, int]:
    """Return the host and the port of an https URL; RefusedPath for every other protocol and spelling."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > 2048:  # noqa: PLR2004
        raise RefusedPath(f"{display_url(url)} is no URL: it holds blanks, control characters or other scripts")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError as error:
        raise RefusedPath(f"{display_url(url)} is no URL: {error}") from error
    if not url.startswith("https://"):
        raise RefusedPath(f"{display_url(url)}: repositories are cloned over https only")
    if "@" in parts.netloc:
        raise RefusedPath(f"{display_url(url)}: a URL with a user name or password in it is refused")
    if not _HOST.fullmatch(host):
        raise RefusedPath(f"{display_url(url)}: there is no host, or one that is no name")
    return host, port
