"""The last steps of an attempt, from verified files to a recorded job: announce, publish, record, remove."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.attempt import StateChange
from worker.core.errors import DatabaseUnavailable, DiskFull, LeveretError, MountMissing, StorageUnavailable
from worker.engine.attempt.leftovers import delete_requested, remove_leftovers
from worker.engine.attempt.originals import keep_replaced, note_kept, plan_replaced
from worker.engine.parts.files import remove_parts

if TYPE_CHECKING:
    from worker.core.attempt import Attempt, Result
    from worker.core.ports import HeldLease
    from worker.core.ports.originals import Original
    from worker.engine.resources import Resources

KEEPING: Final = (StorageUnavailable, DiskFull, MountMissing)
"""The failures of a publish after which the encoded files are worth keeping."""
RECORD_PAUSE_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


class Publication:
    """The last steps of one attempt. Nothing outside its folder has changed before them."""

    def __init__(self, resources: Resources, attempt: Attempt, lease: HeldLease) -> None:
        self._resources = resources
        self._attempt = attempt
        self._lease = lease
        self._revealing = False

    async def publish_and_record(self, result: Result) -> None:
        """Show the files of `result`, record the job as completed, then delete what it asked to delete."""
        resources, attempt = self._resources, self._attempt
        repository, storages = resources.repository, resources.storages
        may_replace = [artifact for artifact in result.artifacts if artifact.replaces]
        replaced = await plan_replaced(repository, storages, attempt, may_replace)
        if result.artifacts:
            own = {artifact.uri: artifact.sha256 for artifact in result.artifacts if not artifact.replaces}
            earlier = await repository.announce(attempt, [artifact.uri for artifact in result.artifacts], own)
            artifacts = [replace(one, earlier=earlier.get(one.uri, ())) for one in result.artifacts]
            await resources.on_state(StateChange.by(attempt, "publishing"))
            await resources.on_step("announced")
            try:
                await storages.publish(artifacts, self._confirm, lambda: self._keep_replaced(replaced))
            except BaseException as error:
                await self._discard(result, error)
                raise
            await resources.on_step("published")
        orphans = await self._record(result)
        self._count_parts(result)
        await resources.on_step("recorded")
        await note_kept(repository, replaced)
        await resources.on_state(StateChange.by(attempt, "completed"))
        job_id = attempt.job.job_id
        await delete_requested(repository, storages, job_id, result.deletions)
        if attempt.epoch > 1:
            ours = {artifact.uri for artifact in result.artifacts}
            await remove_leftovers(storages, job_id, [*orphans, *ours], ours)
            if attempt.job.part is None:
                await remove_parts(resources, job_id)

    async def _keep_replaced(self, replaced: list[Original]) -> None:
        if replaced:
            await self._lease.confirm()
            await keep_replaced(self._resources.storages, replaced)
            await self._resources.on_step("kept")

    def _count_parts(self, result: Result) -> None:
        """Count a part that is made, or those that are joined."""
        if self._attempt.job.part is not None:
            self._resources.observer.parts("made", 1)
        elif isinstance(joined := result.facts.get("parts"), dict) and "ranges" in joined:
            self._resources.observer.parts("joined", joined["ranges"] + joined["others"])

    async def _confirm(self) -> None:
        await self._lease.confirm()
        self._revealing = True
        await self._resources.on_step("revealing")

    async def _record(self, result: Result) -> tuple[str, ...]:
        """Record the result, trying again while the database is away and the lease may still be ours."""
        while True:
            try:
                return await self._lease.last(lambda: self._resources.repository.complete(self._attempt, result))
            except DatabaseUnavailable as error:
                if self._lease.ended is not None:
                    raise self._lease.ended from error
                log.warning("record_postponed", job_id=self._attempt.job.job_id, error=str(error))
            await asyncio.sleep(RECORD_PAUSE_SECONDS)

    async def _discard(self, result: Result, error: BaseException) -> None:
        """Remove what was staged and no reader can see; a kill, or a storage that is away, leaves it to others.

        The attempt's own folder stays when a manifest may point into it already, and when the next attempt
        here goes on with the same files; whoever ends the job removes what is not part of its result.
        """
        stays = self._revealing or isinstance(error, KEEPING)
        staged = [artifact for artifact in result.artifacts if not (stays and artifact.immutable)]
        with contextlib.suppress(LeveretError):
            await asyncio.shield(self._resources.storages.discard(staged))
