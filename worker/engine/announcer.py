"""Tells the world how jobs go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.attempt import Attempt, Progress, StateChange
    from worker.core.ports import Events


@dataclass(frozen=True, slots=True)
class Announcer:
    """Tells the world of state changes and progress."""

    events: Events

    async def state(self, change: StateChange) -> None:
        """Publish `job.<state>`."""
        await self.events.publish(f"job.{change.state}", asdict(change))

    async def progress(self, attempt: Attempt, progress: Progress) -> None:
        """Publish `job.progress`."""
        job = {"job_id": attempt.job.job_id, "title": attempt.job.title, "worker": attempt.worker}
        numbers = {"round": attempt.round, "attempt": attempt.number}
        await self.events.publish("job.progress", job | numbers | asdict(progress))
