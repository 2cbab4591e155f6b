"""Access: roles and tokens."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from worker.core.errors import Misconfigured
from worker.settings.serve import ROLES, parse_token

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.settings import Settings

Role: TypeAlias = Literal["viewer", "operator", "admin"]

COOKIE: Final = "leveret_token"
"""A browser's cookie holds the token itself: whoever reads the stored hashes can make none."""
SESSION_SECONDS: Final = 30 * 86400
TOKEN_PREFIX: Final = "lvt_"  # noqa: S105 - what every token begins with
MAX_TOKEN: Final = 512


@dataclass(frozen=True, slots=True)
class Principal:
    """The person or program that asks. `digest` is of their token, empty for whoever sits at this machine."""

    name: str
    role: Role
    digest: str = field(default="", repr=False)

    def may(self, role: Role) -> bool:
        """Return whether this role holds `role`, too: an admin is an operator, an operator a viewer."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL: Final = Principal("local", "admin")
"""Whoever reaches a server without tokens: it answers on loopback only."""


def new_token() -> str:
    """Return a token that nobody can guess: 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token, in hex: all that is stored of it.

    A fast hash is enough for 256 random bits, as nobody can try them all.
    """
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens of the settings and of the file, which is read again when it changes."""

    def __init__(self, stated: Iterable[str], file: Path | None = None) -> None:
        """Misconfigured when the file cannot be read or one of its lines is no token's."""
        self._stated = {digest: Principal(name, _role(role), digest) for role, name, digest in map(_parse_line, stated)}
        self._file = file
        self._stamp: tuple[int, int, int] | None = None
        self._filed: dict[str, Principal] = {}
        self._reload()

    @classmethod
    def of(cls, settings: Settings) -> Tokens:
        """Return the tokens that the settings name."""
        return cls(settings.serve_tokens, settings.serve_tokens_file)

    @property
    def required(self) -> bool:
        """Return whether a token is asked for; once a file is named it always is, even an empty one."""
        return bool(self._stated) or self._file is not None

    @property
    def empty(self) -> bool:
        """Return whether nobody could log in."""
        return not self._stated and not self._filed

    def principal(self, token: str) -> Principal | None:
        """Return whose token it is."""
        return self._principal(digest_of(token[:MAX_TOKEN]))

    def _principal(self, digest: str) -> Principal | None:
        found = None
        for known, principal in self._all().items():
            # Compare with every token: the time that it takes must not reveal which one matched.
            if hmac.compare_digest(known, digest):
                found = principal
        return found

    def _all(self) -> dict[str, Principal]:
        self._reload()
        return self._stated | self._filed

    def _reload(self) -> None:
        if self._file is None:
            return
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            lines = self._file.read_text().splitlines()
        except OSError as error:
            # A file that is gone grants nothing any more; at the start it is an error of the configuration.
            self._filed = {}
            if self._stamp is None:
                raise Misconfigured(f"WORKER_SERVE_TOKENS_FILE {self._file}: {error.strerror}") from error
            return
        numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line.strip()[0] != "#"]
        first, self._stamp, self._filed = self._stamp is None, stamp, {}
        for number, line in numbered:
            try:
                role, name, digest = parse_token(line, f"line {number}")
            except ValueError as error:
                if first:
                    raise Misconfigured(f"WORKER_SERVE_TOKENS_FILE {self._file}: {error}") from error
                continue
            self._filed[digest] = Principal(name, _role(role), digest)


def _parse_line(line: str) -> tuple[str, str, str]:
    return parse_token(line, "WORKER_SERVE_TOKENS")


def _role(text: str) -> Role:
    known: tuple[Role, ...] = ("viewer", "operator", "admin")
    return next(role for role in known if role == text)
