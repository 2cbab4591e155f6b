"""Schedules in the database: each is run by one server at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.core.schedule import ScheduleRecord


class ScheduleStore(Protocol):
    """Schedules, and who runs one now. Times are the database's clock."""

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        ...

    async def put_schedule(self, name: str, document: Mapping[str, Any], next_at: datetime | None) -> ScheduleRecord:
        """Store or replace a schedule; how its last run went stays."""
        ...

    async def delete_schedule(self, name: str) -> bool:
        """Return whether there was one."""
        ...

    async def claim_schedule(self, owner: str, lease_seconds: float, name: str | None = None) -> ScheduleRecord | None:
        """Return a schedule that is due and that nobody runs, now the owner's; or `name`, due or not."""
        ...

    async def renew_schedule(self, name: str, owner: str, lease_seconds: float) -> bool:
        """Return whether the schedule is still the owner's, for so long from now."""
        ...

    async def finish_schedule(self, name: str, owner: str, next_at: datetime | None, outcome: str) -> bool:
        """Note how a run went and when the next is due; return whether the schedule was still the owner's."""
        ...
