"""Notifications: who is informed of which ends of jobs, and what is sent."""

from __future__ import annotations

import hashlib
from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from worker.core.job import Model
from worker.core.record import Record

MAX_JOBS: Final = 100
"""The number of jobs in one webhook message; more go out in several."""
MAX_DIGEST: Final = 5000
"""The number of jobs that one message to people counts; it names a few of them."""
MAX_LINES: Final = 20

Ended = Literal["completed", "dead", "cancelled"]


class Notification(Model):
    """A notification: its receivers, its events, and how often it may be sent."""

    url: Annotated[str, StringConstraints(min_length=5, max_length=2000)] = Field(
        description="An https:// address that is sent signed JSON, or an address of Apprise's (mailto://, ntfys://, …)."
    )
    kind: Literal["", "webhook", "apprise"] = Field(
        "", description="By default a webhook for https:// and http://, else Apprise."
    )
    secret: Annotated[str, StringConstraints(max_length=500)] = Field(
        "", description="What a webhook is signed with; needed for one."
    )
    states: tuple[Ended, ...] = Field(("dead",), min_length=1, description="The ends of jobs that are meant.")
    digest_seconds: float = Field(
        60,
        ge=0,
        le=86400,
        description="At least so long lies between two messages: what ends meanwhile goes out together.",
    )
    enabled: bool = Field(True, description="Whether anything is sent; what ends meanwhile is not sent later.")

    @field_validator("states")
    @classmethod
    def _once(cls, value: tuple[Ended, ...]) -> tuple[Ended, ...]:
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.is_webhook and not self.url.startswith(("https://", "http://")):
            raise ValueError("a webhook's url begins with https://")
        if self.is_webhook and len(self.secret) < 16:  # noqa: PLR2004 - shorter ones can be guessed
            raise ValueError("a webhook needs a secret of at least 16 characters: what it is signed with")
        return self

    @property
    def is_webhook(self) -> bool:
        """Return whether JSON is sent, and no message for people."""
        return (self.kind or ("webhook" if self.url.startswith(("https://", "http://")) else "apprise")) == "webhook"

    @property
    def public_document(self) -> dict[str, Any]:
        """Return the document without what is secret: an address holds tokens and passwords."""
        return self.model_dump() | {
            "kind": "webhook" if self.is_webhook else "apprise",
            "url": f"{self.url.partition('://')[0]}://…",
            "secret": "…" if self.secret else "",
        }


class StoredNotification(Record):
    """A notification, when it was sent last, and why it could not be; `waiting` are the ends that are not sent yet."""

    name: str
    document: dict[str, Any]
    sent_at: datetime | None = None
    failures: int = 0
    problem: str | None = None
    waiting: int = 0

    @property
    def notification(self) -> Notification:
        """Return what the document says."""
        return Notification.model_validate(self.document)


class NotificationView(Record):
    """The same as people and programs see it: in `document`, `…` stands for what is secret."""

    name: str
    document: dict[str, Any]
    sent_at: datetime | None
    failures: int
    problem: str | None
    waiting: int

    @classmethod
    def of(cls, stored: StoredNotification) -> Self:
        """Return what is shown of a notification."""
        return cls(**(stored.model_dump() | {"document": stored.notification.public_document}))


class Notice(Record):
    """The end of a job, as somebody is informed of it."""

    job_id: str
    epoch: int
    state: str
    title: str
    ended_at: datetime
    error: str | None = None
    error_type: str | None = None
    manifest_url: str | None = None


class Message(Record):
    """A message to send: these ends, and how many there are of each state in all."""

    notification: str
    notices: tuple[Notice, ...]
    counts: dict[str, int]

    @property
    def delivery(self) -> str:
        """Return what is the same whenever the same message is sent again."""
        keys = "\n".join(f"{one.job_id} {one.epoch} {one.state}" for one in self.notices)
        return hashlib.sha256(f"{self.notification}\n{keys}".encode(errors="replace")).hexdigest()[:32]

    @property
    def total(self) -> int:
        """Return how many jobs it is about."""
        return sum(self.counts.values())

    @property
    def title(self) -> str:
        """Return one line for people."""
        if self.total == 1:
            return f"Leveret: {one_line(self.notices[0].title)} is {self.notices[0].state}"
        counted = ", ".join(f"{count} {state}" for state, count in sorted(self.counts.items()))
        return f"Leveret: {self.total} jobs ended: {counted}"

    @property
    def text(self) -> str:
        """Return the lines for people: what failed comes first."""
        ordered = sorted(self.notices, key=lambda one: one.state != "dead")
        lines = []
        for one in ordered[:MAX_LINES]:
            kind = f"{one.error_type}: " if one.error_type else ""
            why = f": {kind}{one_line(one.error)}" if one.error else ""
            lines.append(f"{one.state}  {one_line(one.title)} ({one.job_id}){why}")
        if (more := self.total - len(lines)) > 0:
            lines.append(f"… and {more} more")
        return "\n".join(lines)

    def document(self, at: int) -> dict[str, Any]:
        """Return what a webhook is sent."""
        return {
            "notification": self.notification,
            "delivery": self.delivery,
            "sent_at": at,
            "counts": self.counts,
            "jobs": [one.model_dump(mode="json") for one in self.notices],
        }


def one_line(text: str) -> str:
    """Return a foreign text on one line, without letters that steer what shows it."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:300]
