"""Tells the world how jobs go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.attempt import Attempt, Progress
    from worker.core.ports import Events


@dataclass(frozen=True, slots=True)
class Announcer:
    """Tells the world of state changes and progress."""

    events: Events

    async def state(self, attempt: Attempt, state: str) -> None:
        """Publish `job.<state>`."""
        await self.events.publish(f"job.{state}", self._of(attempt) | {"state": state})

    async def progress(self, attempt: Attempt, progress: Progress) -> None:
        """Publish `job.progress`."""
        figures = {name: getattr(progress, name) for name in ("percent", "task", "fps", "speed", "eta_seconds")}
        await self.events.publish("job.progress", self._of(attempt) | figures)

    @staticmethod
    def _of(attempt: Attempt) -> dict[str, object]:
        return {
            "job_id": attempt.job.job_id,
            "title": attempt.job.title,
            "round": attempt.round,
            "attempt": attempt.number,
            "worker": attempt.worker,
        }
