"""Scans that a server runs: what was asked for, how far each is, and what it found."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from worker.core.job import Model
from worker.core.record import Record
from worker.core.template import TemplateName, Value, VariableName  # noqa: TC001 - pydantic reads them at run time

ScanState: TypeAlias = Literal["waiting", "running", "completed", "failed"]


class ScanRequest(Model):
    """A request to scan a folder."""

    template: TemplateName = Field(description="The template whose promise is asked for.")
    source: Annotated[str, StringConstraints(min_length=1, max_length=4096)] = Field(
        description="A folder, or a pattern: `nas://films`, `nas://films/**/*.mkv`."
    )
    variables: Annotated[dict[VariableName, Value], Field(max_length=50)] = Field(
        default_factory=dict, description="Values of the template's variables."
    )
    health: bool = Field(False, description="Whether each file is decoded to its end, once.")
    submit: bool = Field(False, description="Whether a job is made of each file that does not conform.")
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="With `submit`: at most so many jobs.")

    @model_validator(mode="after")
    def _limit_of_jobs(self) -> ScanRequest:
        if self.limit is not None and not self.submit:
            raise ValueError("limit belongs to submit")
        return self


class ScanRecord(Record):
    """A scan. `progress` are its numbers so far, `result` is what it found; `problem` says why it failed."""

    scan_id: str
    document: dict[str, Any]
    state: ScanState
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    owner: str | None = None
    runs: int = 0
    progress: dict[str, Any] = Field(default_factory=dict)
    result: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def request(self) -> ScanRequest:
        """Return what was asked for."""
        return ScanRequest.model_validate(self.document)
