"""Signatures of webhooks, both ways: `t=SECONDS,v1=HEX`, an HMAC-SHA256 over the time and the raw body."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

HEADER: Final = "X-Leveret-Signature"
TOLERANCE_SECONDS: Final = 300
"""The seconds by which the clocks of the two sides may differ, and in which a recorded call could be sent again."""
_SIGNED: Final = re.compile(r"^t=(\d{1,15}),v1=([0-9a-f]{64})$")


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the header's value for a body that is sent `at` seconds after 1970."""
    return f"t={at},v1={_mac(secret, str(at).encode() + b'.' + body)}"


def is_signed(secret: str, header: str, body: bytes, now: float) -> bool:
    """Return whether `header` is a signature of this body, not older or newer than the tolerance."""
    match = _SIGNED.match(header.strip())
    if match is None:
        return False
    expected = _mac(secret, match[1].encode() + b"." + body)
    # Compared in any case: how long it takes says nothing of which of the two was wrong.
    return hmac.compare_digest(expected, match[2]) and abs(now - int(match[1])) <= TOLERANCE_SECONDS


def is_signed_by_github(secret: str, header: str, body: bytes) -> bool:
    """Return whether `X-Hub-Signature-256` is GitHub's signature of this body."""
    return hmac.compare_digest(f"sha256={_mac(secret, body)}".encode(), header.strip().encode())


def _mac(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
