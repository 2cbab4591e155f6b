"""The API's answer about a job whose message was published again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from worker.control.replay import Republished


class RepublishedDocument(BaseModel):
    """A job whose message was published again: in which round, to which queue, and out of what."""

    name: str = Field(description="What people call it by: its job's id, or the first digits of its SHA-256.")
    job_id: str | None
    round: int | None
    queue: str
    source: str

    @classmethod
    def of(cls, done: Republished) -> Self:
        """Return what was done as the API says it."""
        return cls(name=done.name, job_id=done.job_id, round=done.round, queue=done.queue, source=done.source)
