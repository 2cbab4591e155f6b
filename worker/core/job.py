"""The job: what every accepted message becomes, and the pydantic models of its envelope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from worker.core.errors import Problem
from worker.core.redaction import without_logins

if TYPE_CHECKING:
    from collections.abc import Mapping

ID_PATTERN: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"
MAX_TASKS: Final = 100
SECRET_KEYS: Final = frozenset({"token", "password", "secret"})
WORDS: Final = frozenset({"job_title", "title", "track-title", "track-name", "name", "aname", "subname", "metadata"})
"""Fields whose texts are shown in a film or beside it, even one that is a URL; no module opens them."""

JobId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Priority = Literal["high", "normal", "low"]
Lane = Literal["cpu", "nvenc", "qsv", "vaapi", "visualize"]
Text = Annotated[str, StringConstraints(max_length=500)]
Place = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class Model(BaseModel):
    """The base of every wire model: frozen, and unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False, validate_by_name=True)


class Envelope(Model):
    """The fields of a canonical message beside its tasks."""

    job_id: JobId | None = Field(
        None, description="The job's id; else the message's `message_id`, else one is assigned."
    )
    job_title: Text = Field(
        "", validation_alias=AliasChoices("job_title", "job_name"), description="The job's name, for people."
    )
    priority: Priority | None = Field(None, description="Which queue of its lane the job waits in.")
    lane: Lane | None = Field(None, description="Which workers take it; by default derived from its tasks.")
    destination: Place | None = Field(None, description="Where relative outputs go; by default storage URL/job id/.")
    timeout: float | None = Field(None, gt=0, le=30 * 86400, description="Seconds that the whole job may take.")
    callback_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2048)] | None = Field(
        None, description="Where the final record is POSTed."
    )
    keep_log: bool = Field(False, description="Whether the output of the tools is published too, as leveret.log.")


class TaskMessage(Model):
    """One task of a canonical message."""

    module: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(description="The module's name.")
    data: dict[str, Any] = Field(default_factory=dict, description="The module's data; its own page describes it.")


class JobMessage(Envelope):
    """The canonical message."""

    tasks: list[TaskMessage] = Field(min_length=1, max_length=MAX_TASKS, description="The tasks, in this order.")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task as the message states it: the module's name, its data, and where the data was."""

    module: str
    data: Mapping[str, Any]
    path: str


class PartOf(Model):
    """The part of a job that a message stands for; only a fleet's own plan writes it."""

    job: JobId = Field(description="The divided job.")
    index: int = Field(ge=0, le=99_999, description="The part's place in the plan.")
    key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")] = Field(description="The key of its file.")


@dataclass(frozen=True, slots=True)
class Job:
    """A job, as a worker runs it. Frozen; equal jobs came from messages that mean the same.

    `priority` and `lane` are None where the publisher left the choice to us. `facts` go into the record
    as they are (a transcode message's `movie_id`). `part` says that it is a part of a divided job.
    """

    job_id: str
    title: str
    tasks: tuple[TaskSpec, ...]
    dialect: str
    priority: str | None = None
    lane: str | None = None
    destination: str | None = None
    timeout: float | None = None
    callback_url: str | None = None
    keep_log: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)
    part: PartOf | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return every secret text in the tasks' data: no log, record, error or event may show them."""
        return tuple(text for task in self.tasks for text in _secrets(task.data))

    def document(self) -> dict[str, Any]:
        """Return the job as a canonical message, without its secrets: what the database keeps.

        Queries of URLs stay, for without them it could neither run again nor call back.
        """
        envelope = {
            "job_id": self.job_id,
            "job_title": self.title,
            "priority": self.priority,
            "lane": self.lane,
            "destination": self.destination,
            "timeout": self.timeout,
            "callback_url": self.callback_url,
            "keep_log": self.keep_log or None,
            "part": self.part.model_dump() if self.part else None,
        }
        tasks = [{"module": task.module, "data": _without_secrets(task.data)} for task in self.tasks]
        kept = _without_secrets({key: value for key, value in envelope.items() if value is not None})
        return {**kept, "tasks": tasks}


def _secrets(value: object) -> tuple[str, ...]:
    match value:
        case dict():
            own = tuple(str(item) for key, item in value.items() if key in SECRET_KEYS and item)
            return own + tuple(text for item in value.values() for text in _secrets(item))
        case list():
            return tuple(text for item in value for text in _secrets(item))
        case _:
            return ()


def _without_secrets(value: Any, *, words: bool = False) -> Any:
    match value:
        case dict():
            return {
                key: _without_secrets(item, words=words or key.lstrip("-") in WORDS)
                for key, item in value.items()
                if key not in SECRET_KEYS
            }
        case list():
            return [_without_secrets(item, words=words) for item in value]
        case str() if not words:
            return without_logins(value)
        case _:
            return value


def id_problem(job_id: str) -> Problem:
    """Return the problem with an id that does not match the pattern."""
    return Problem("job_id", f"{job_id[:140]!r} is no id: 1 to 128 letters, digits, '.', '_' or '-', no leading dot")
