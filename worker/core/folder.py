"""Watched folders: what is taken from them, when, and what becomes of a file after its job."""

from __future__ import annotations

import posixpath
from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, StringConstraints, field_validator, model_validator

from worker.core.job import Model
from worker.core.record import Record
from worker.core.template import MAX_VALUE, TemplateName

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Afterwards: TypeAlias = Literal["leave", "move", "delete"]
FileState: TypeAlias = Literal["settling", "sidecar", "submitted", "done", "skipped", "failed"]
FILE_STATES: Final[tuple[FileState, ...]] = ("settling", "sidecar", "submitted", "done", "skipped", "failed")

MEDIA: Final = frozenset(
    {
        ".mkv", ".mp4", ".m4v", ".mov", ".avi", ".webm", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".wmv",
        ".flv", ".ogv", ".mxf", ".3gp", ".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".wma", ".aiff",
    }
)  # fmt: skip
SIDECARS: Final = frozenset([".srt", ".ass", ".ssa", ".vtt", ".sub", ".idx", ".sup"])
"""Files that belong to the film beside them, whose name theirs begins with."""
UNFINISHED: Final = frozenset(
    {
        ".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".!qb", ".!ut", ".aria2",
        ".unfinished",
    }
)  # fmt: skip
"""The names that programs give to a file that they are still writing."""


class Folder(Model):
    """A watched folder, as it is stored."""

    place: Annotated[str, StringConstraints(min_length=2, max_length=2000)] = Field(
        description="The folder: nas://inbox/, s3://bucket/inbox/ or an absolute path, with all below it."
    )
    template: TemplateName = Field(description="The template that makes a job of each film.")
    variables: Annotated[dict[str, Annotated[str, StringConstraints(max_length=MAX_VALUE)]], Field(max_length=50)] = (
        Field(default_factory=dict, description="Values for the template's variables.")
    )
    include: Annotated[tuple[Pattern, ...], Field(max_length=50)] = Field(
        (), description="Patterns of names, or of paths below the folder (`*.mkv`, `films/*`); by default all media."
    )
    exclude: Annotated[tuple[Pattern, ...], Field(max_length=50)] = Field((), description="Patterns that are left out.")
    settle_seconds: float = Field(
        10, ge=1, le=86400, description="How long a file must keep its size and time before it is taken."
    )
    poll_seconds: float | None = Field(
        None,
        ge=0.2,
        le=3600,
        description="The least time between two scans: 0.5 by default, 10 for a bucket; a folder that takes long to "
        "list is scanned less often.",
    )
    most_waiting: int = Field(100, ge=1, le=100_000, description="At most this many of its jobs wait at a time.")
    afterwards: Afterwards = Field(
        "leave", description="What becomes of a film, and its subtitles, once its job is recorded as completed."
    )
    move_to: Annotated[str, StringConstraints(max_length=2000)] = Field(
        "", description="Where films go that are moved: a folder of the same file system or bucket."
    )

    @field_validator("place", "move_to")
    @classmethod
    def _folder(cls, value: str) -> str:
        return value if not value or value.endswith("/") else value + "/"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.afterwards == "move") != bool(self.move_to):
            raise ValueError('move_to belongs to "afterwards": "move", which needs it')
        if self.move_to and self.move_to == self.place:
            raise ValueError("move_to is the folder itself")
        return self

    def takes(self, path: str) -> bool:
        """Return whether a path below the folder is a film of this folder, by its name."""
        name = posixpath.basename(path)
        suffix = posixpath.splitext(name)[1].lower()
        if suffix in UNFINISHED or name.startswith((".", "~")) or name.endswith("~"):
            return False
        if any(_matches(pattern, path, name) for pattern in self.exclude):
            return False
        return any(_matches(pattern, path, name) for pattern in self.include) if self.include else suffix in MEDIA

    def looks_every(self, scan_seconds: float) -> float:
        """Return the seconds between two looks, after one that took so long."""
        least = self.poll_seconds or (10.0 if self.place.startswith("s3://") else 0.5)
        return max(least, min(600.0, 10 * scan_seconds))


def _matches(pattern: str, path: str, name: str) -> bool:
    if "/" in pattern:
        # A folder's name alone in front of `**` means the folder itself, too.
        return fnmatchcase(path, pattern) or fnmatchcase(path, pattern.replace("**/", ""))
    return fnmatchcase(name, pattern)


def is_sidecar(path: str) -> bool:
    """Return whether a file belongs to another one."""
    return posixpath.splitext(path)[1].lower() in SIDECARS


def belongs_to(sidecar: str, film: str) -> bool:
    """Return whether a sidecar is a film's: the same folder, and the film's name before its own suffixes."""
    return sidecar.startswith(posixpath.splitext(film)[0] + ".")


def group_of(path: str) -> str:
    """Return what a film and its sidecars have in common: the folder, and the name up to its first dot."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


class Sighting(Record):
    """A file as a look at the folder found it; `path` is below the folder."""

    path: str
    bytes: int
    version: str


class FolderFile(Sighting):
    """A file of a watched folder, and what became of it.

    `still_since` is since when size and version are as they are, by the database's clock.
    """

    state: FileState
    still_since: datetime
    job_id: str | None = None
    reason: str | None = None
    sidecars: tuple[Sighting, ...] = ()


class StoredFolder(Record):
    """A folder with its document, who looks at it, and what the last look found."""

    name: str
    document: dict[str, Any]
    paused: bool = False
    owner: str | None = None
    scanned_at: datetime | None = None
    files: int = 0
    problem: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    waiting: int = 0

    @property
    def folder(self) -> Folder:
        """Return what the document says."""
        return Folder.model_validate(self.document)
