"""The settings of whoever commands a fleet from afar: which server, and with which token."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.core.errors import Misconfigured
from worker.settings.wording import complaints

MAX_TOKEN: Final = 512


class ClientSettings(BaseSettings):
    """The address and token of the API, for commands that do not use the database and the broker themselves."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    server: str = Field(
        "",
        validation_alias="LEVERET_SERVER",
        description="The address of a server (`leveret serve`): the commands go over its API then, without the"
        " broker's or the database's password. https://media.example:8443/path works.",
    )
    token: SecretStr = Field(
        SecretStr(""),
        validation_alias="LEVERET_TOKEN",
        description="The token that the server asks for; `leveret token` prints one.",
    )

    @field_validator("server")
    @classmethod
    def _server(cls, value: str) -> str:
        value = value.strip().rstrip("/")
        try:
            found = urlsplit(value)
            port = found.port
        except ValueError as error:
            raise ValueError("is no address of a server: write http://host:port or https://host") from error
        if value and (found.scheme not in {"http", "https"} or not found.hostname or found.query or found.fragment):
            raise ValueError("is no address of a server: write http://host:port or https://host")
        if found.username or found.password:
            raise ValueError("holds a password: the token goes into LEVERET_TOKEN")
        del port
        return value

    @field_validator("token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value().strip()
        if not token.isascii() or not token.isprintable() or " " in token or len(token) > MAX_TOKEN:
            raise ValueError("is no token: `leveret token` prints one")
        return SecretStr(token)


def load_client() -> ClientSettings:
    """Return them as this environment has them; Misconfigured names each that is wrong."""
    try:
        return ClientSettings()
    except ValidationError as error:
        raise Misconfigured(complaints(error)) from error
