"""Schedules: when a template is made into jobs, or a library is scanned, by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator

from worker.core.job import Lane, Model, Priority
from worker.core.record import Record
from worker.core.template import TemplateName, Value, VariableName  # noqa: TC001 - pydantic reads them at run time

if TYPE_CHECKING:
    from croniter import croniter

LONGEST_CRON: Final = 100
MAX_SOURCES: Final = 100

Source = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class ScheduleDocument(Model):
    """A schedule as it is stored."""

    cron: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_CRON)] = Field(
        description="Minute, hour, day, month and weekday: `30 3 * * *` is half past three each night."
    )
    zone: Annotated[str, StringConstraints(max_length=64)] = Field(
        "UTC", description="Whose clock that is: a name of the IANA time zones, `Europe/Berlin`."
    )
    template: TemplateName = Field(description="The template that jobs are made of, or whose promise a scan asks for.")
    sources: Annotated[tuple[Source, ...], Field(max_length=MAX_SOURCES)] = Field(
        (), description="Sources and patterns; none for a template that is for no source."
    )
    variables: Annotated[dict[VariableName, Value], Field(max_length=50)] = Field(
        default_factory=dict, description="Values of the template's variables."
    )
    action: Literal["submit", "scan"] = Field("submit", description="Whether jobs are made, or files only judged.")
    health: bool = Field(False, description="Whether a scan decodes every file once.")
    again: bool = Field(False, description="Whether jobs are made of what is done already, too.")
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="How many jobs a run makes at most.")
    lane: Lane | None = Field(None, description="Where the jobs go; by default derived.")
    priority: Priority | None = Field(None, description="Their priority.")
    enabled: bool = Field(True, description="Whether it runs by itself.")

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value[:40]!r} is no time zone; write Europe/Berlin or UTC") from error
        return value

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        if len(value.split()) != 5:  # noqa: PLR2004 - the fields of cron
            raise ValueError(
                f"{value[:40]!r} has {len(value.split())} fields; minute, hour, day, month and weekday are 5"
            )
        try:
            next_after(value, "UTC", datetime(2026, 1, 1, tzinfo=UTC))
        except ValueError as error:
            raise ValueError(f"{value[:40]!r}: {error}") from error
        return value

    def due_after(self, moment: datetime) -> datetime | None:
        """Return when it runs next after a moment; None for one that does not run by itself."""
        return next_after(self.cron, self.zone, moment) if self.enabled else None


class ScheduleRecord(Record):
    """A schedule, when it runs next, and how its last run went; `owner` runs it now."""

    name: str
    document: dict[str, Any]
    next_at: datetime | None = None
    owner: str | None = None
    last_at: datetime | None = None
    last_outcome: str | None = None

    @property
    def schedule(self) -> ScheduleDocument:
        """Return what is stored."""
        return ScheduleDocument.model_validate(self.document)


def next_after(cron: str, zone: str, moment: datetime) -> datetime:
    """Return the first time after `moment` that a cron expression means in a zone; ValueError when it is none.

    An hour that the clock has twice is meant once, and one that it leaves out is meant an hour later; where every hour
    is meant, every hour is.
    """
    from croniter import CroniterError, croniter  # noqa: PLC0415 - only who has schedules

    place = ZoneInfo(zone)
    local = moment.astimezone(place)
    hourly = cron.split()[1].startswith("*")
    try:
        times: croniter = croniter(cron, local if hourly else local.replace(tzinfo=None), max_years_between_matches=8)
        while True:
            found: datetime = times.get_next(datetime)
            due = (found if hourly else found.replace(tzinfo=place)).astimezone(UTC)
            if due > moment:
                return due
    except (CroniterError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"it never comes, or cannot be read: {str(error)[:100]}") from error
