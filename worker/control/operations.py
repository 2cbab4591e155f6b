"""The use cases as the commands call them: over the database and the broker, or over a server's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from worker.control.intake.operations import IntakeOperations

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from worker.control.fleet import FleetSnapshot
    from worker.control.jobs import CancelRequest
    from worker.control.replay import Replayed, Republished
    from worker.control.submit import Submitted
    from worker.control.undo import Undone
    from worker.control.validate import Validation
    from worker.core.listing import JobFilter
    from worker.core.notification import NotificationView
    from worker.core.ports.originals import Original
    from worker.core.record import JobRecord, LogRecord, OptionSet, Wanted, WorkerRecord
    from worker.core.views import DeadPage, DeadWhole, Disagreement


class DocumentOperations(Protocol):
    """Messages, without running them: what is said of them follows from the modules alone."""

    async def validate(self, body: bytes) -> Validation:
        """Return what is known of a message's body."""
        ...

    async def message_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the canonical message."""
        ...

    async def module_schema(self, name: str) -> dict[str, Any]:
        """Return the JSON Schema of one module's data."""
        ...


class LookOperations(Protocol):
    """Looking at jobs, which needs nothing but the database."""

    async def find_job(self, name: str) -> JobRecord:
        """Return the record of the job with this id, or the only one whose id begins so."""
        ...

    def matching_jobs(self, chosen: JobFilter, *, limit: int, details: bool = False) -> AsyncIterator[JobRecord]:
        """Yield the newest jobs that match."""
        ...

    async def job_log(self, job_id: str, number: int | None = None) -> LogRecord:
        """Return the log of the job's newest attempt that has one, or of the newest with that number."""
        ...


class JobOperations(LookOperations, Protocol):
    """Jobs; each method is the use case of its name in `worker.control`."""

    async def submit(self, body: bytes, *, lane: str | None = None, priority: str | None = None) -> Submitted:
        """Return the job that was submitted."""
        ...

    async def cancel_job(self, name: str, *, unseen: bool = False) -> CancelRequest:
        """Ask for the cancellation of a job."""
        ...

    async def retry_job(self, name: str) -> Republished:
        """Run a job again."""
        ...

    async def list_originals(self) -> list[Original]:
        """Return what is kept of files that jobs replaced or deleted."""
        ...

    async def undo(self, job_id: str) -> Undone:
        """Put back what a job replaced or deleted."""
        ...

    async def forget_originals(self, job_id: str) -> tuple[Original, ...]:
        """Delete for good what is kept of a job; return what it was."""
        ...


class DeadOperations(Protocol):
    """Dead letters."""

    async def list_dead(self, limit: int) -> DeadPage:
        """Return the newest dead messages."""
        ...

    async def show_dead(self, name: str | None) -> DeadWhole:
        """Return one dead message, without a name the newest."""
        ...

    async def replay_dead(self, name: str, document: bytes | None = None) -> Republished:
        """Publish one again, or `document` in its place."""
        ...

    async def replay_all(self) -> Replayed:
        """Publish every one again."""
        ...

    async def purge_dead(self, name: str) -> int:
        """Delete one for good; return how many were deleted."""
        ...

    async def purge_all(self) -> int:
        """Delete every one for good; return how many were deleted."""
        ...


class FleetOperations(Protocol):
    """Workers and queues, and whether database, broker and storage agree."""

    async def list_workers(self) -> list[WorkerRecord]:
        """Return the workers by name."""
        ...

    async def unserved_lanes(self) -> dict[str, int]:
        """Return how many jobs wait in each lane that no living worker serves."""
        ...

    async def steer_worker(self, worker_id: str, wanted: Wanted) -> list[str]:
        """Ask one worker to run, pause or drain; return its id."""
        ...

    async def steer_fleet(self, wanted: Wanted) -> list[str]:
        """Ask every worker that is not offline; return the ids asked."""
        ...

    async def forget_worker(self, worker_id: str) -> list[str]:
        """Delete what is known of an offline worker; return its id."""
        ...

    async def forget_silent_workers(self, seconds: float) -> list[str]:
        """Delete what is known of the workers that were silent for so long; return their ids."""
        ...

    async def fleet_rows(self) -> FleetSnapshot:
        """Return what the database shows now."""
        ...

    def queue_depths(self) -> AsyncGenerator[Mapping[str, int]]:
        """Yield, whenever asked, how many messages wait in each queue; ends with the first error."""
        ...

    async def reconcile(self, seconds: float, *, mend: bool) -> list[Disagreement]:
        """Return what database, broker and storage do not agree on; with `mend` it is put right."""
        ...


class OptionSetOperations(Protocol):
    """Option sets."""

    async def list_option_sets(self, module: str | None = None) -> list[OptionSet]:
        """Return the option sets, or one module's."""
        ...

    async def get_option_set(self, module: str, name: str) -> OptionSet:
        """Return one option set."""
        ...

    async def put_option_set(self, module: str, name: str, document: Any) -> OptionSet:
        """Store or replace one option set."""
        ...

    async def delete_option_set(self, module: str, name: str) -> None:
        """Delete one option set."""
        ...


class NotificationOperations(Protocol):
    """Notifications of the ends of jobs."""

    async def list_notifications(self) -> list[NotificationView]:
        """Return the notifications by name."""
        ...

    async def get_notification(self, name: str) -> NotificationView:
        """Return one notification."""
        ...

    async def put_notification(self, name: str, document: Any) -> NotificationView:
        """Store or replace one notification."""
        ...

    async def delete_notification(self, name: str) -> None:
        """Delete one notification, and what it has not sent yet."""
        ...

    async def try_notification(self, name: str) -> None:
        """Send a sample now."""
        ...


class Operations(
    JobOperations,
    DeadOperations,
    FleetOperations,
    OptionSetOperations,
    NotificationOperations,
    IntakeOperations,
    Protocol,
):
    """Everything that the commands do with what the database and the broker hold."""
