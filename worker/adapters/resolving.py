"""The look-up of host names whose addresses are judged before anything connects to them."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from worker.core.errors import RefusedPath

if TYPE_CHECKING:
    from collections.abc import Callable

RESOLVE_SECONDS: Final = 20.0


class Unresolved(Exception):
    """A name is not known now, or was not looked up in time."""


async def addresses_of(name: str, permitted: Callable[[str], bool]) -> list[str]:
    """Return the addresses of a host name or literal, in the resolver's order.

    The resolver also reads the old spellings of IPv4 (`2130706433`, `0177.1`), so that they are judged by what they
    mean. RefusedPath when one is not `permitted`, Unresolved when the name is not known.
    """
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise Unresolved(f"the name {name} was not looked up in time") from error
    except socket.gaierror as error:
        raise Unresolved(f"the name {name} is not known") from error
    except UnicodeError as error:
        raise RefusedPath(f"{name[:100]!r} is no host name") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if refused := [address for address in addresses if not permitted(address)]:
        raise RefusedPath(f"{name} leads to {refused[0]}, which is no public address")
    return addresses
