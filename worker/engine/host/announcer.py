"""Tells the world how jobs go."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final

from worker.core.attempt import StateChange

if TYPE_CHECKING:
    from worker.core.attempt import Attempt, Progress
    from worker.core.ports import Events

_CHANGE: Final = tuple(field.name for field in fields(StateChange))


@dataclass(frozen=True, slots=True)
class Announcer:
    """Tells the world of state changes and progress."""

    events: Events

    async def state(self, change: StateChange) -> None:
        """Publish `job.<state>`."""
        await self.events.publish(f"job.{change.state}", {name: getattr(change, name) for name in _CHANGE})

    async def progress(self, attempt: Attempt, progress: Progress) -> None:
        """Publish `job.progress`."""
        job = {"job_id": attempt.job.job_id, "title": attempt.job.title, "worker": attempt.worker}
        numbers = {"round": attempt.round, "attempt": attempt.number}
        await self.events.publish("job.progress", job | numbers | asdict(progress))
