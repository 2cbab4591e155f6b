"""The check whether a connection to PostgreSQL may be broken."""

from __future__ import annotations

import select
import time
from typing import Final

RESTED_SECONDS: Final = 1.0


def is_doubtful(socket: int, used: float) -> bool:
    """Return whether a connection last used at `used` is to be asked if it still is one, which is a round trip.

    It is if it rested, or if something came unasked: a server that ends a connection says so, and what it says waits
    in the socket.
    """
    return time.monotonic() - used > RESTED_SECONDS or _is_readable(socket)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
