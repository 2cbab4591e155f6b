"""A settled file of a watched folder: submitted once, and moved or deleted after its job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.control.intake.templates import Made, blueprint_of, submit_template
from worker.control.jobs import retry_job
from worker.core.errors import Permanent, SourceMissing, Transient
from worker.core.folder import Sighting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.control.resources import Control
    from worker.core.folder import Folder, FolderFile
    from worker.core.location import External
    from worker.core.ports.folders import FolderFiles, FolderStore

SIDECAR: Final = "sidecar"
"""The variable that a template may have for the first subtitles beside its film."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FileTaker:
    """Takes files of the folder `name`; what becomes of each is in its row."""

    control: Control
    files: FolderFiles
    name: str

    @property
    def _stores(self) -> FolderStore:
        return self.control.stores

    async def take(self, folder: Folder, file: FolderFile) -> None:
        """Submit one file, if it still is what it was and nobody writes it."""
        base = await self.files.admit(folder.place)
        place = base.joined(file.path)
        try:
            if not await self._is_unchanged(file, place):
                return
            maker = await self._stores.maker_of(str(place), file.bytes)
            if maker is not None:
                reason = f"the job {maker} made it: what a job makes is not taken"
                await self._stores.decide(self.name, file, "skipped", job_id=maker, reason=reason)
                return
            sidecars, settled = await self._stores.sidecars(self.name, file.path, folder.settle_seconds)
            if settled:
                await self._submit(folder, file, place, base, sidecars)
            else:
                await self._stores.decide(self.name, file, "settling", reason="its subtitles are being written")
        except SourceMissing:
            # Removed before it settled; should a mount be away, it is seen again when that is back.
            await self._stores.forget_file(self.name, file.path)
        except Transient as error:
            # It may be this file alone: the others do not wait for it.
            await self._stores.decide(self.name, file, "settling", reason=str(error)[:500])
            log.warning("folder_file_postponed", folder=self.name, path=file.path, error=str(error))

    async def _is_unchanged(self, file: FolderFile, place: External) -> bool:
        """Return whether the file is what the last look saw; else it begins to settle anew."""
        found = await self.control.library().look(place)
        if (found.bytes, found.version) != (file.bytes, file.version):
            await self._stores.note_sightings(
                self.name, [Sighting(path=file.path, bytes=found.bytes, version=found.version)]
            )
            return False
        if file.bytes == 0 or await self.files.is_written(place):
            # An upload that stalls, or has reserved its room: it counts from now again.
            await self._stores.decide(self.name, file, "settling", reason="it is being written")
            return False
        return True

    async def _submit(
        self, folder: Folder, file: FolderFile, place: External, base: External, sidecars: Sequence[Sighting]
    ) -> None:
        try:
            blueprint = await blueprint_of(self.control, folder.template)
            variables = dict(folder.variables)
            if sidecars and SIDECAR in blueprint.document.variables:
                variables.setdefault(SIDECAR, str(base.joined(sidecars[0].path)))
            done = await submit_template(self.control, blueprint, str(place), variables, asked_by=f"folder {self.name}")
        except Permanent as error:
            # Whatever else fails, a storage or a broker that is away, says nothing about the file.
            await self._stores.decide(self.name, file, "failed", reason=str(error)[:500])
            log.warning("folder_file_failed", folder=self.name, path=file.path, error=str(error))
            return
        if isinstance(done, Made):
            await self._stores.decide(self.name, file, "submitted", job_id=done.job_id, sidecars=sidecars)
            log.info("folder_file_submitted", folder=self.name, path=file.path, job_id=done.job_id)
            return
        if done.job_id is not None and await self._is_ours(done.job_id, place):
            # Submitted before, by a server that was killed before it could say so.
            await self._publish_unpublished(done.job_id)
            await self._stores.decide(self.name, file, "submitted", job_id=done.job_id, sidecars=sidecars)
        else:
            await self._stores.decide(self.name, file, "skipped", job_id=done.job_id, reason=done.reason[:500])

    async def _publish_unpublished(self, job_id: str) -> None:
        """Publish a job that a broker which went away in the middle of it never got: `submit` cancels it then."""
        record = await self.control.stores.job(job_id)
        if record is not None and record.state == "cancelled" and not record.attempts:
            await retry_job(self.control, job_id)

    async def _is_ours(self, job_id: str, place: External) -> bool:
        origin = await self.control.stores.origin(job_id)
        return origin is not None and origin.source == str(place) and origin.asked_by == f"folder {self.name}"

    async def finish(self, folder: Folder, file: FolderFile) -> None:
        """Move or delete a film and its subtitles, now that its job is recorded; what changed since stays."""
        base = await self.files.admit(folder.place)
        reason = None
        for one in (*file.sidecars, file):
            place = base.joined(one.path)
            try:
                found = await self.control.library().look(place)
                if (found.bytes, found.version) != (one.bytes, one.version):
                    reason = f"{one.path} has changed since: it stays"
                elif folder.afterwards == "delete":
                    await self.files.delete(file.job_id or "", place)
                else:
                    await self.files.move(place, await self.files.admit(folder.move_to), one.path)
            except SourceMissing:
                continue
        await self._stores.decide(self.name, file, "done", job_id=file.job_id, reason=reason, sidecars=file.sidecars)
