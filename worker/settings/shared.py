"""The settings that a worker, the commands and the page share: where things are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.core import default_places
from worker.core.routing import DEFAULT_DELAYS


def split_words(value: Any) -> Any:
    """Return the words of a comma-separated text; anything else as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_words)]
"""A setting that is a list, comma-separated in the environment."""
Seconds = Annotated[tuple[float, ...], NoDecode, BeforeValidator(split_words)]


class SharedSettings(BaseSettings):
    """The broker, the database and the storage, and what all who use them must agree on."""

    model_config = SettingsConfigDict(defer_build=True)

    broker_url: SecretStr = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672/"),
        description="The broker; amqps works. The nodes of a cluster, comma-separated, are tried in turn.",
    )
    database_url: SecretStr = Field(
        default_factory=lambda: SecretStr(default_places.database_url(os.environ)),
        description="sqlite:///path (one host only) or postgresql://…",
    )
    storage_url: str = Field(
        default_factory=lambda: default_places.storage_url(os.environ),
        description="Where relative outputs go: file:///…, nas://… or s3://bucket/prefix.",
    )
    parts_url: str = Field(
        "",
        description="Where the parts of divided jobs are kept until they are joined; all workers must reach it:"
        " nas://…, s3://… or file:///…; by default beside each job's outputs.",
    )
    nas_root: Path | None = Field(
        None, description="The folder that nas:// means; it must be there when the worker starts."
    )
    roots: Words = Field(
        (),
        description="Folders and s3:// prefixes that jobs may touch; by default the NAS root and storage.",
    )
    path_map: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="A publisher's mount points on this host: /mnt/phoenix=/srv/nas, comma-separated.",
    )
    retry_delays: Seconds = Field(DEFAULT_DELAYS, description="Seconds before each further attempt, comma-separated.")
    heartbeat_seconds: float = Field(5, gt=0, description="Between two heartbeats.")
    broker_timeout_seconds: float = Field(
        1800,
        ge=0,
        description="The broker's consumer_timeout, which it does not report; 0 is none. Only `doctor` uses it.",
    )
    undo_days: float = Field(
        7,
        ge=0,
        description="How long what a job replaces or deletes is kept beside its place, hidden, for `leveret undo`;"
        " 0 keeps nothing.",
    )
    undo_bytes: int = Field(
        1 << 37, ge=0, description="How much of it is kept in all; beyond that the oldest is deleted early."
    )
    public_url: str | None = Field(None, description="Put before an output's key to make the record's URLs.")
    allow_private_addresses: bool = Field(
        False, description="Whether https:// sources and callbacks may be on private addresses."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: str = Field("", description="json or text; by default text on a terminal, else json.")

    @field_validator("retry_delays")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < delay <= 7 * 86400 for delay in value) or len(value) > 20:  # noqa: PLR2004 - a week; more is a typing error
            raise ValueError("needs up to 20 delays between 0 and 604800 seconds")
        return value

    @field_validator("path_map", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(
            not middle or not here.strip().startswith("/") or not there.strip().startswith("/")
            for there, middle, here in pairs
        ):
            raise ValueError("is no list of pairs: write /there=/here, comma-separated")
        return {there.strip(): here.strip() for there, _, here in pairs}

    @field_validator("storage_url")
    @classmethod
    def _storage(cls, value: str) -> str:
        if value.startswith("file://") and not value.startswith("file:///"):
            value = f"file://{Path(value.removeprefix('file://')).absolute()}"
        if not value.startswith(("file:///", "nas://", "s3://")):
            raise ValueError("is no place: write file:///folder, nas://folder or s3://bucket/prefix")
        return value.rstrip("/") + "/"

    @field_validator("parts_url")
    @classmethod
    def _parts(cls, value: str) -> str:
        if value and not value.startswith(("file:///", "nas://", "s3://")):
            raise ValueError("is no place: write file:///folder, nas://folder or s3://bucket/prefix")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.storage_url.startswith("nas://") and self.nas_root is None:
            raise ValueError("WORKER_STORAGE_URL is on nas:// but WORKER_NAS_ROOT is not set")
        return self

    @property
    def offline_seconds(self) -> float:
        """Return the silence after which a worker counts as gone: three heartbeats."""
        return 3 * self.heartbeat_seconds
