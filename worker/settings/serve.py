"""The settings of the page and the API: what `leveret serve` needs beside what a worker needs."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.settings.shared import Words  # noqa: TC001 - pydantic reads it at run time

ROLES: Final = ("viewer", "operator", "admin")
_TOKEN: Final = re.compile(r"^(?P<role>[a-z]+):(?P<name>[A-Za-z0-9._@-]{1,64}):(?P<digest>[0-9a-f]{64})$")


class ServeSettings(BaseSettings):
    """The settings of the page: its address, its users, and the limits of uploads."""

    model_config = SettingsConfigDict(defer_build=True)

    serve_address: str = Field(
        "127.0.0.1:8080",
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/]+):\d{1,5}$",
        description="Where the page and the API answer, host:port. Without tokens a loopback address only.",
    )
    serve_tokens: Words = Field(
        (), description="Who may use them: role:name:sha256, comma-separated; `leveret token` prints one."
    )
    serve_tokens_file: Path | None = Field(
        None, description="The same, one a line; read again when it changes, so a line that is removed ends its access."
    )
    serve_hosts: Words = Field(
        (), description="The names, beside loopback, by which browsers may call the page; by default any with tokens."
    )
    serve_root_path: str = Field(
        "", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="The path under which a reverse proxy shows the page."
    )
    serve_trusted_proxies: Words = Field(
        (), description="Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are trusted."
    )
    serve_requests_per_second: float = Field(
        50, gt=0, description="How many requests one address may send, ten times as many at once."
    )
    upload_folder: str = Field(
        "uploads",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
        description="Where uploads go, below the NAS root or the first S3 root.",
    )
    upload_bytes: int = Field(64 << 30, gt=0, description="How large an upload may be.")
    upload_hours: float = Field(24, gt=0, description="How long an unfinished upload is kept after its last piece.")

    @field_validator("serve_tokens")
    @classmethod
    def _tokens(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, line in enumerate(value, 1):
            parse_token(line, f"entry {number}")
        return value

    @field_validator("serve_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in value)

    @field_validator("serve_trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise ValueError(f"{text[:50]!r} is neither an address nor a network") from error
        return value

    @field_validator("serve_address")
    @classmethod
    def _port(cls, value: str) -> str:
        if int(value.rpartition(":")[2]) > 65535:  # noqa: PLR2004 - the largest port
            raise ValueError("has no such port")
        return value


def parse_token(line: str, where: str) -> tuple[str, str, str]:
    """Return (role, name, SHA-256 in hex) of one token's line; ValueError names `where` and never shows the line."""
    match = _TOKEN.match(line.strip())
    if match is None or match["role"] not in ROLES:
        raise ValueError(f"{where} is not role:name:sha256, with a role of {', '.join(ROLES)}")
    return match["role"], match["name"], match["digest"]


def address_of(text: str) -> tuple[str, int]:
    """Return (host, port) of `host:port` or `[address]:port`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_count(settings: ServeSettings) -> int:
    """Return how many tokens let people in; OSError when their file cannot be read."""
    lines = settings.serve_tokens_file.read_text().splitlines() if settings.serve_tokens_file else []
    return len(settings.serve_tokens) + sum(bool(line.strip()) and line.strip()[0] != "#" for line in lines)
