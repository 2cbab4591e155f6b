"""The addresses that a clone may connect to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from worker.adapters.git.errors import display_url
from worker.adapters.resolving import Unresolved, addresses_of
from worker.core.errors import RefusedPath, RemoteUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+", re.IGNORECASE)


async def pin_addresses(url: str, permitted: Callable[[str], bool]) -> str:
    """Return where curl shall connect for this URL: to the very addresses that were looked at.

    RefusedPath for a URL that is no plain https one, or that leads to an address that is not `permitted`;
    RemoteUnavailable when its name is not known now.
    """
    host, port = _host_of(url)
    try:
        addresses = await addresses_of(host, permitted)
    except Unresolved as error:
        raise RemoteUnavailable(str(error)) from error
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
