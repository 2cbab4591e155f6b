"""The nodes of one broker, as a setting names them."""

from __future__ import annotations

import re
from typing import Final

# A comma may be in a password: only one before the next address ends an address.
_BETWEEN: Final = re.compile(r"\s*,\s*(?=amqps?://)")


OTHER_DATABASE: Final = (
    "belongs to the fleet of another database: check WORKER_DATABASE_URL and WORKER_BROKER_URL, or give this fleet a"
    " virtual host of its own; for good, delete the exchange media.fleet and run `python -m infra provision`"
)
"""The message for a broker that was provisioned for another database."""


def broker_urls(text: str) -> tuple[str, ...]:
    """Return the URL of each node that `WORKER_BROKER_URL` names, in the order in which they are tried."""
    return tuple(_BETWEEN.split(text.strip()))
