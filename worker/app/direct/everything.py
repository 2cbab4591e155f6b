"""The use cases over the database and the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.adapters.notifying import NotificationSender, check_address
from worker.app.direct.intake import DirectIntake
from worker.app.undoing import KeptFiles
from worker.control import dead_letters, fleet, jobs, option_sets, replay, steer
from worker.control import submit as submission
from worker.control import undo as undoing
from worker.control.intake import notifications
from worker.core.notification import NotificationView
from worker.core.views import DeadPage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from worker.control.fleet import FleetSnapshot
    from worker.control.jobs import CancelRequest
    from worker.control.replay import Replayed, Republished
    from worker.control.submit import Submitted
    from worker.control.undo import Undone
    from worker.core.ports.originals import Original
    from worker.core.record import OptionSet, Wanted, WorkerRecord
    from worker.core.views import DeadWhole, Disagreement


class Direct(DirectIntake):
    """`Operations` for whoever has the passwords of the database and the broker."""

    async def submit(self, body: bytes, *, lane: str | None = None, priority: str | None = None) -> Submitted:
        """Return the job that was submitted."""
        return await submission.submit(self._control, body, lane=lane, priority=priority)

    async def cancel_job(self, name: str, *, unseen: bool = False) -> CancelRequest:
        """Ask for the cancellation of a job."""
        return await jobs.cancel_job(self._control, name, unseen=unseen)

    async def retry_job(self, name: str) -> Republished:
        """Run a job again."""
        return await jobs.retry_job(self._control, name)

    async def list_dead(self, limit: int) -> DeadPage:
        """Return the newest dead messages."""
        found = await dead_letters.list_dead(self._control, limit)
        return DeadPage(messages=[message.summary() for message in found.messages], count=found.count)

    async def show_dead(self, name: str | None) -> DeadWhole:
        """Return one dead message."""
        return (await dead_letters.show_dead(self._control, name)).whole()

    async def replay_dead(self, name: str, document: bytes | None = None) -> Republished:
        """Publish one again."""
        return await replay.replay_dead(self._control, name, document)

    async def replay_all(self) -> Replayed:
        """Publish every one again."""
        return await replay.replay_all(self._control)

    async def purge_dead(self, name: str) -> int:
        """Delete one for good."""
        return await replay.purge_dead(self._control, name)

    async def purge_all(self) -> int:
        """Delete every one for good."""
        return await replay.purge_all(self._control)

    async def list_workers(self) -> list[WorkerRecord]:
        """Return the workers."""
        return await steer.list_workers(self._control)

    async def unserved_lanes(self) -> dict[str, int]:
        """Return what waits where nobody serves."""
        return await fleet.unserved_lanes(self._control, await self.list_workers())

    async def steer_worker(self, worker_id: str, wanted: Wanted) -> list[str]:
        """Ask one worker."""
        return await steer.steer_worker(self._control, worker_id, wanted)

    async def steer_fleet(self, wanted: Wanted) -> list[str]:
        """Ask every worker."""
        return await steer.steer_fleet(self._control, wanted)

    async def forget_worker(self, worker_id: str) -> list[str]:
        """Forget one worker."""
        return await steer.forget_worker(self._control, worker_id)

    async def forget_silent_workers(self, seconds: float) -> list[str]:
        """Forget those that are silent."""
        return await steer.forget_silent_workers(self._control, seconds)

    async def fleet_rows(self) -> FleetSnapshot:
        """Return what the database shows now."""
        return await fleet.fleet_rows(self._control)

    async def queue_depths(self) -> AsyncGenerator[Mapping[str, int]]:
        """Yield the depths over one connection."""
        async with self._control.broker() as broker:
            while True:
                yield await fleet.queue_depths(broker)

    async def reconcile(self, seconds: float, *, mend: bool) -> list[Disagreement]:
        """Return what does not agree."""
        # What looks through storages and scratch is imported by nobody else.
        from worker.app.doctor import reconciler  # noqa: PLC0415

        async with self._control.broker() as broker:
            return await reconciler(self._settings, self._control.stores, seconds=seconds, mend=mend).run(broker)

    async def list_option_sets(self, module: str | None = None) -> list[OptionSet]:
        """Return the option sets."""
        return await option_sets.list_option_sets(self._control, module)

    async def get_option_set(self, module: str, name: str) -> OptionSet:
        """Return one option set."""
        return await option_sets.get_option_set(self._control, module, name)

    async def delete_option_set(self, module: str, name: str) -> None:
        """Delete one option set."""
        await option_sets.delete_option_set(self._control, module, name)

    async def put_option_set(self, module: str, name: str, document: Any) -> OptionSet:
        """Store one option set."""
        return await option_sets.put_option_set(self._control, module, name, document)

    async def list_originals(self) -> list[Original]:
        """Return what is kept."""
        return await undoing.list_originals(self._control)

    async def undo(self, job_id: str) -> Undone:
        """Put back what a job replaced or deleted."""
        return await undoing.undo(self._control, KeptFiles.of(self._settings), job_id)

    async def forget_originals(self, job_id: str) -> tuple[Original, ...]:
        """Delete for good what is kept of a job."""
        return await undoing.forget(self._control, KeptFiles.of(self._settings), job_id)

    async def list_notifications(self) -> list[NotificationView]:
        """Return the notifications."""
        return [NotificationView.of(one) for one in await notifications.list_notifications(self._control)]

    async def get_notification(self, name: str) -> NotificationView:
        """Return one notification."""
        return NotificationView.of(await notifications.get_notification(self._control, name))

    async def put_notification(self, name: str, document: Any) -> NotificationView:
        """Store one notification."""
        await notifications.put_notification(self._control, name, document, check_address)
        return await self.get_notification(name)

    async def delete_notification(self, name: str) -> None:
        """Delete one notification."""
        await notifications.delete_notification(self._control, name)

    async def try_notification(self, name: str) -> None:
        """Send a sample."""
        sender = NotificationSender(allow_private=self._settings.allow_private_addresses)
        await notifications.try_notification(self._control, name, sender)
