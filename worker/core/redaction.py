"""One way in which secrets leave every text that people may see."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "[hidden]"
# Bounded repetitions: a tool's 64 KiB without a space would else cost seconds.
_SCHEME: Final = r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://"
# `https://u:pa/ss@host`: what comes before the slash is no host with a port, so it can only be a login.
_SLASHED: Final = r"[^/?#\s:@\[\"]{0,1000}:(?!\d*(?:[/?#]|$))"
_USERINFO: Final = re.compile(rf"({_SCHEME})(?:[^/\s\"]*|{_SLASHED}[^\s\"]{{0,1000}})@")
# The first folder of a NAS path may have an `@` in its name, the name of an S3 access point has colons.
_LOGIN: Final = re.compile(rf"\A(\s*(?!(?i:nas)://){_SCHEME})(?:[^/?#]*@|(?<!(?i:s3)://){_SLASHED}[^\s]{{0,1000}}@)")
_QUERY: Final = re.compile(
    r"(?i)([?&](?:[a-z0-9_.-]{0,50}(?:token|sig|secret|passw|pwd|credential|key|auth|hmac|jwt)[a-z0-9_.-]{0,50})=)[^&\s'\"]+"
)
_AUTHORIZATION: Final = re.compile(r"(?i)(authorization\s*[:=]\s*)(?:(?:bearer|basic|token)\s+)?\S+")
# Of a message that never became a job nobody knows which texts are secret: the names of their fields do.
_NAMES: Final = r"token|secret|passw|pwd|credential|api.?key|access.?key|private.?key|authorization|jwt"
_SECRET_NAME: Final = re.compile(_NAMES, re.IGNORECASE)
_FIELD: Final = re.compile(
    rf'(?i)("[a-z0-9_.-]{{0,50}}(?:{_NAMES})[a-z0-9_.-]{{0,50}}"\s*:\s*)'
    r'(?:"(?:[^"\\]|\\.)*"?|\[[^\]]*\]?|\{[^}]*\}?|[^\s,\]}"\[{]+)'
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given secrets, and without userinfo, tokens and authorisation."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if secret:
            text = text.replace(secret, HIDDEN).replace(quote(secret, safe=""), HIDDEN)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    text = _FIELD.sub(rf'\1"{HIDDEN}"', text)
    text = _QUERY.sub(rf"\1{HIDDEN}", text)
    return _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)


def without_logins(text: str) -> str:
    """Return a value without user name and password where it is a URL; text that only holds one stays as it is.

    A job whose sources, outputs or callback are such URLs is always refused: one that runs is never rewritten.
    """
    return _LOGIN.sub(rf"\1{HIDDEN}@", text)


def redacted(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return a JSON value with each of its texts redacted, keys too; what is no text stays as it is."""
    match value:
        case str():
            return redact(value, secrets)
        case dict():
            return {redact(str(key), secrets): redacted(item, secrets) for key, item in value.items()}
        case list():
            return [redacted(item, secrets) for item in value]
        case _:
            return value


def without_secrets(value: Any) -> Any:
    """Return a JSON value without the fields whose names say that they are secret."""
    match value:
        case dict():
            return {key: without_secrets(item) for key, item in value.items() if not _SECRET_NAME.search(key)}
        case list():
            return [without_secrets(item) for item in value]
        case _:
            return value
