"""One way in which secrets leave every text that people may see."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "[hidden]"
# Bounded repetitions: a tool's 64 KiB without a space would else cost seconds.
_USERINFO: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,30}://)[^/\s'\"]*@")
_QUERY: Final = re.compile(
    r"(?i)([?&](?:[a-z0-9_.-]{0,50}(?:token|sig|secret|passw|pwd|credential|key|auth|hmac|jwt)[a-z0-9_.-]{0,50})=)[^&\s'\"]+"
)
_AUTHORIZATION: Final = re.compile(r"(?i)(authorization\s*[:=]\s*)(?:(?:bearer|basic|token)\s+)?\S+")
# Of a message that never became a job nobody knows which texts are secret: the names of their fields do.
_FIELD: Final = re.compile(r'(?i)("(?:token|password|secret)"\s*:\s*)"(?:[^"\\]|\\.)*"?')


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given secrets, and without userinfo, tokens and authorisation."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if secret:
            text = text.replace(secret, HIDDEN).replace(quote(secret, safe=""), HIDDEN)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    text = _FIELD.sub(rf'\1"{HIDDEN}"', text)
    text = _QUERY.sub(rf"\1{HIDDEN}", text)
    return _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
