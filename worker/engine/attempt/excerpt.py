"""The excerpt of a message that became no job, as people see it."""

from __future__ import annotations

import json
from typing import Final

from worker.core.errors import InvalidJob
from worker.core.message import wire
from worker.core.redaction import redact, redacted, without_secrets

EXCERPT_CHARACTERS: Final = 2000


def excerpt_of(body: bytes) -> str:
    """Return the beginning of a message's body without its secrets, as PostgreSQL can store it.

    JSON goes without every field whose name says that it is secret; of other text only the patterns of `redact` are
    hidden, and of what is no text nothing is shown.
    """
    try:
        text = json.dumps(redacted(without_secrets(wire.parse(body))), ensure_ascii=False)
    except InvalidJob:
        try:
            # Redacted before it is cut: half a secret matches no pattern.
            text = redact(body.decode()[: 4 * EXCERPT_CHARACTERS])
        except UnicodeDecodeError:
            text = f"({len(body)} bytes that are not UTF-8)"
    return text[:EXCERPT_CHARACTERS].replace("\x00", "\N{REPLACEMENT CHARACTER}")
