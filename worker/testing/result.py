"""The result of the tasks that a bench ran: what they staged, noted and reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.command import Pipeline


@dataclass(slots=True)
class StagedFile:
    """An output of a bench's tasks: its local path, and what the task said of it."""

    path: Path
    role: str = "file"
    media_type: str | None = None
    immutable: bool = False
    duration: float | None = None


@dataclass(slots=True)
class Report:
    """One report of progress."""

    fraction: float | None
    fps: float | None = None
    speed: float | None = None


@dataclass(slots=True)
class BenchResult:
    """The work of a bench's tasks so far. `outputs` are by location as tasks wrote it."""

    outputs: dict[str, StagedFile] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    deletions: list[str] = field(default_factory=list)
    manifest: str | None = None
    thumbnail: str | None = None
    pipelines: list[Pipeline] = field(default_factory=list)
