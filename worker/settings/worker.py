"""The settings of a worker alone: what it takes, where it works, and how far its tools may go."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.core.hours import ActiveHours
from worker.core.local_names import is_plain
from worker.core.routing import LANES
from worker.settings.shared import Words  # noqa: TC001 - pydantic reads it at run time


class WorkerSettings(BaseSettings):
    """The settings of a host that runs jobs."""

    model_config = SettingsConfigDict(defer_build=True)

    scratch: Path = Field(Path(tempfile.gettempdir()) / "leveret", description="Where attempts work; fast and roomy.")
    scratch_free_bytes: int = Field(
        1 << 30,
        ge=0,
        description="Space in scratch that is reserved for each job: a job is taken only while so much is free beside"
        " what the running jobs of this host may still use.",
    )
    lanes: Words = Field((), description="The lanes this worker serves; by default those that its host has proved.")
    active_hours: str = Field(
        "", description="When it takes jobs, in local time: 22:00-06:00, several with commas; by default always."
    )
    prove: bool = Field(False, description="Whether capabilities are proved again at every start.")
    id: str = Field("", max_length=100, description="The worker's name; by default the host's name and a slot.")
    lease_seconds: float = Field(
        8, gt=0.5, description="How long a job stays with a silent worker while none of its outputs is visible."
    )
    publish_lease_seconds: float = Field(
        30,
        ge=0,
        description="The same while its outputs become visible, and while a copy of its message waits; at least"
        " WORKER_LEASE_SECONDS.",
    )
    unserved_seconds: float = Field(3600, gt=0, description="How long a lane may refuse a job before it is dead.")
    stall_seconds: float = Field(120, gt=0, description="A tool without progress for so long is stopped.")
    grace_seconds: float = Field(3600, ge=0, description="How long a running job may continue after SIGTERM.")
    job_seconds: float = Field(86400, gt=0, description="How long a job may take that names no timeout of its own.")
    job_outputs: int = Field(100_000, gt=0, description="How many files a job may publish.")
    connect_seconds: float = Field(
        300, ge=0, description="How long the worker waits for a broker at start before it gives up."
    )
    allow_file_repos: bool = Field(False, description="Whether file: repositories under a root may be cloned.")
    clone_bytes: int = Field(2 << 30, gt=0, description="How large a clone may be, without its files' contents.")
    clone_seconds: float = Field(900, gt=0, description="How long a clone may take.")
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
        "",
        pattern=r"^(|.+:\d{1,5})$",
        description="Where metrics are served to Prometheus, host:port; by default nowhere.",
    )
    log_days: float = Field(14, gt=0, description="How long the output of tools is kept in the database.")

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

    @property
    def hostname(self) -> str:
        """Return the host's name."""
        return platform.node() or "localhost"
