"""Templates: a job with variables, written once and made into jobs for sources."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from worker.core.job import Model
from worker.core.names import NAME
from worker.core.record import Record

MAX_CONDITION: Final = 1000
MAX_VALUE: Final = 4000
"""The longest text that a variable has, or that is made of variables."""
MAX_VARIABLES: Final = 50

TemplateName = Annotated[str, StringConstraints(pattern=NAME)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
ConditionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CONDITION)]
Value = Annotated[str, StringConstraints(max_length=MAX_VALUE)]


class Case(Model):
    """A value for those sources for which a condition holds."""

    when: ConditionText = Field(description="For which sources.")
    value: Value = Field(description="The value then; it may hold `{{ … }}`.")


class Variable(Model):
    """A choice that is made when a job is made of the template. A text in place of this object is its default."""

    description: Annotated[str, StringConstraints(max_length=500)] = Field("", description="What it is for.")
    kind: Literal["text", "name", "folder", "number"] = Field(
        "text",
        description="`name` becomes a safe part of a path: it holds no `/`. `folder` is a place below the roots: who "
        "gives it chooses where files go. `number` is a number, also in the message where it is alone. A `text` "
        "may not be in a path.",
    )
    default: Value | None = Field(None, description="The value where none is given; it may hold `{{ … }}`.")
    example: Value | None = Field(None, description="What replaces it while the template is checked.")
    choices: Annotated[tuple[Value, ...], Field(max_length=100)] = Field((), description="The values that it may have.")
    cases: Annotated[tuple[Case, ...], Field(max_length=20)] = Field(
        (), description="Values by what the source is: where none is given, the first that holds goes before `default`."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_alone(cls, value: Any) -> Any:
        return {"default": value} if isinstance(value, str) else value


class TemplateDocument(Model):
    """A template as it is stored."""

    description: Annotated[str, StringConstraints(max_length=1000)] = Field("", description="What it makes.")
    variables: Annotated[dict[VariableName, Variable], Field(max_length=MAX_VARIABLES)] = Field(
        default_factory=dict, description="What can be chosen; a default may name the variables before it."
    )
    when: ConditionText | None = Field(None, description="The sources that it is for; others are left alone.")
    promise: Annotated[tuple[ConditionText, ...], Field(max_length=20)] = Field(
        (), description="What holds for a source that needs no work: it is skipped, and a scan counts it as conforming."
    )
    job: dict[str, Any] = Field(
        description="The job's message. Its texts may hold `{{ … }}`; an object in a list, a task too, may hold `when`."
    )


class StoredTemplate(Record):
    """A version of a template. Jobs keep what they were made from: a new version changes none of them."""

    name: str
    version: int
    document: dict[str, Any]
    stored_at: datetime


class Origin(Record):
    """The origin of a job: the template and its version, the source and what it was, and who asked.

    `asked_by` is `submit`, or `folder NAME`, `hook NAME`, `schedule NAME`.
    """

    job_id: str
    template: str
    version: int
    source: str
    fingerprint: str
    source_bytes: int
    asked_by: str = "submit"
    made_at: datetime | None = None


class OriginState(Record):
    """A job that was made of a source, and what became of it; `bytes` are those that it published."""

    origin: Origin
    state: str
    bytes: int = 0
