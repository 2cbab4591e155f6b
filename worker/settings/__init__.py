"""The environment, read once, as one frozen value. The only module that looks at it."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import DotEnvSettingsSource, NoDecode, SettingsConfigDict

from worker.core import default_places
from worker.core.errors import Misconfigured
from worker.core.hours import ActiveHours
from worker.core.local_names import is_plain
from worker.core.message.wire import nearest
from worker.core.routing import DEFAULT_DELAYS, LANES
from worker.settings.client import ClientSettings
from worker.settings.serve import ServeSettings

Words = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[tuple[float, ...], NoDecode]


class Settings(ServeSettings, ClientSettings):
    """Every setting of a worker, of its commands and of the page: `WORKER_<NAME>` in the environment or in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="WORKER_", env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

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
        description="Where the parts of divided jobs are until they are joined, which all workers must see:"
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
    scratch: Path = Field(Path(tempfile.gettempdir()) / "leveret", description="Where attempts work; fast and roomy.")
    scratch_free_bytes: int = Field(
        1 << 30,
        ge=0,
        description="Space that each job is promised in scratch: none is taken while there is less beside what the"
        " jobs under way on this host may still take.",
    )
    lanes: Words = Field((), description="The lanes this worker serves; by default those that its host has proved.")
    active_hours: str = Field(
        "", description="When it takes jobs, in local time: 22:00-06:00, several with commas; by default always."
    )
    prove: bool = Field(False, description="Whether what the host can do is proved anew at every start.")
    id: str = Field("", max_length=100, description="The worker's name; by default the host's name and a slot.")
    retry_delays: Seconds = Field(DEFAULT_DELAYS, description="Seconds before each further attempt, comma-separated.")
    lease_seconds: float = Field(
        8, gt=0.5, description="How long a job stays a silent worker's while nothing of it can be seen."
    )
    publish_lease_seconds: float = Field(
        30,
        ge=0,
        description="The same while its outputs become visible, and while a copy of its message waits; at least"
        " WORKER_LEASE_SECONDS.",
    )
    unserved_seconds: float = Field(3600, gt=0, description="How long a lane may refuse a job before it is dead.")
    heartbeat_seconds: float = Field(5, gt=0, description="Between two heartbeats.")
    stall_seconds: float = Field(120, gt=0, description="A tool without progress for so long is stopped.")
    grace_seconds: float = Field(3600, ge=0, description="How long SIGTERM lets a running job go on.")
    job_seconds: float = Field(86400, gt=0, description="How long any job may take that names no time-out.")
    job_outputs: int = Field(100_000, gt=0, description="How many files a job may publish.")
    broker_timeout_seconds: float = Field(
        1800,
        ge=0,
        description="The broker's consumer_timeout, which it does not tell; 0 is none. Only `doctor` asks, to compare.",
    )
    connect_seconds: float = Field(
        300, ge=0, description="How long the worker waits for a broker at start before it gives up."
    )
    undo_days: float = Field(
        7,
        ge=0,
        description="How long what a job replaces or deletes is kept beside its place, hidden, for `leveret undo`;"
        " 0 keeps nothing.",
    )
    undo_bytes: int = Field(
        1 << 37, ge=0, description="How much of it is kept in all; beyond it the oldest goes before its time."
    )
    public_url: str | None = Field(None, description="Put before an output's key to make the record's URLs.")
    allow_file_repos: bool = Field(False, description="Whether file: repositories under a root may be cloned.")
    clone_bytes: int = Field(2 << 30, gt=0, description="How large a clone may be, without its files' contents.")
    clone_seconds: float = Field(900, gt=0, description="How long a clone may take.")
    allow_private_addresses: bool = Field(
        False, description="Whether https:// sources and callbacks may be on private addresses."
    )
    ffmpeg: str | None = Field(None, description="The ffmpeg to run; else PATH, else the wheel's.")
    ffprobe: str | None = Field(None, description="The ffprobe to run; else PATH, else the wheel's.")
    packager: str | None = Field(None, description="The Shaka packager to run; else PATH, else the wheel's.")
    mkvmerge: str | None = Field(None, description="The mkvmerge to run; else PATH.")
    mkvextract: str | None = Field(None, description="The mkvextract to run; else PATH.")
    mkvpropedit: str | None = Field(None, description="The mkvpropedit to run; else PATH.")
    handbrake: str | None = Field(None, description="The HandBrakeCLI to run; else PATH.")
    gource: str | None = Field(None, description="The gource to run; else PATH.")
    git: str | None = Field(None, description="The git to run; else PATH.")
    nice: int = Field(10, ge=0, le=19, description="Niceness of tools: higher leaves more CPU time to other programs.")
    tool_memory_bytes: int | None = Field(
        None,
        ge=0,
        description="Memory a tool may allocate (RLIMIT_DATA); by default three quarters of the host's, and at least"
        " 4 GiB; 0 is no limit.",
    )
    tool_file_bytes: int = Field(1 << 38, ge=0, description="How large a file a tool may write; 0 is no limit.")
    metrics_address: str = Field(
        "", pattern=r"^(|.+:\d{1,5})$", description="Where Prometheus may ask, host:port; by default nowhere."
    )
    log_days: float = Field(14, gt=0, description="How long what tools wrote is kept in the database.")
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: str = Field("", description="json or text; by default text on a terminal, else json.")

    @field_validator("roots", "lanes", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("retry_delays", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

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
            raise ValueError("is /there=/here, comma-separated")
        return {there.strip(): here.strip() for there, _, here in pairs}

    @field_validator("lanes")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [lane for lane in value if lane not in LANES]:
            raise ValueError(f"{unknown[0]!r} is no lane; there are {', '.join(LANES)}")
        return tuple(dict.fromkeys(value))

    @field_validator("active_hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        return str(ActiveHours.parse(value))

    @field_validator("scratch")
    @classmethod
    def _plain(cls, value: Path) -> Path:
        if not is_plain(str(value)):
            raise ValueError(
                f"{str(value)!r} holds a sign that tools read as a pattern; use letters, digits, . _ and -"
            )
        return value

    @field_validator("storage_url")
    @classmethod
    def _storage(cls, value: str) -> str:
        if value.startswith("file://") and not value.startswith("file:///"):
            value = f"file://{Path(value.removeprefix('file://')).absolute()}"
        if not value.startswith(("file:///", "nas://", "s3://")):
            raise ValueError("is file:///folder, nas://folder or s3://bucket/prefix")
        return value.rstrip("/") + "/"

    @field_validator("parts_url")
    @classmethod
    def _parts(cls, value: str) -> str:
        if value and not value.startswith(("file:///", "nas://", "s3://")):
            raise ValueError("is file:///folder, nas://folder or s3://bucket/prefix")
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

    @property
    def hostname(self) -> str:
        """Return the host's name."""
        return platform.node() or "localhost"


def load(**overrides: Any) -> Settings:
    """Return the settings of this environment; Misconfigured names every variable that is wrong."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False, include_input=False):
            name = f"{variable_of(str(item['loc'][0]))} " if item["loc"] else ""
            lines.append(f"{name}{item['msg'].removeprefix('Value error, ')}")
        raise Misconfigured("; ".join(lines)) from error


def variable_of(name: str) -> str:
    """Return the environment's variable of a setting, given by its field or by that variable."""
    field = Settings.model_fields.get(name)
    stated = field.validation_alias if field else name if name.startswith("LEVERET_") else None
    return stated if isinstance(stated, str) else f"WORKER_{name.upper()}"


def unknown_variables() -> tuple[str, ...]:
    """Return what is said of each WORKER_ variable, set here or in `.env`, that is no setting: nothing reads it."""
    known = {variable_of(name) for name in Settings.model_fields}
    given = {name.upper() for name in (*os.environ, *DotEnvSettingsSource(Settings).env_vars)}
    strange = sorted(name for name in given - known if name.startswith("WORKER_"))
    return tuple(f"{name} is no setting{nearest(name, known)}" for name in strange)


def environment() -> dict[str, str]:
    """Return what a tool may see of our environment: no setting and no secret of ours."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME", "CUDA_VISIBLE_DEVICES")
    return {name: os.environ[name] for name in kept if name in os.environ}
