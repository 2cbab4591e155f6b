"""The nodes of one broker, as a setting names them."""

from __future__ import annotations

import re
from typing import Final

# A comma may be in a password: only one before the next address ends an address.
_BETWEEN: Final = re.compile(r"\s*,\s*(?=amqps?://)")


def broker_urls(text: str) -> tuple[str, ...]:
    """Return the URL of each node that `WORKER_BROKER_URL` names, in the order in which they are tried."""
    return tuple(_BETWEEN.split(text.strip()))
