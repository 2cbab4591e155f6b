"""The use cases of intake, over the database, the broker and the storages of this host."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from worker.app.direct.looks import DirectLooks
from worker.control.intake import batches, folders, hooks, scans, schedules, templates
from worker.core.hook import HookView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from worker.control import Control
    from worker.control.intake.batches import Batch, Count, Counted, Failed
    from worker.control.intake.blueprint import Skip
    from worker.control.intake.templates import Made, Rendered, Skipped
    from worker.core.folder import FolderFile, StoredFolder
    from worker.core.hook import HookCall
    from worker.core.schedule import ScheduleRecord
    from worker.core.template import StoredTemplate
    from worker.settings import Settings


class DirectIntake(DirectLooks):
    """`IntakeOperations` for whoever has the passwords of the database and the broker."""

    _control: Control

    def __init__(self, control: Control, settings: Settings) -> None:
        super().__init__(control)
        self._settings = settings

    async def list_templates(self) -> list[StoredTemplate]:
        """Return the templates."""
        return await templates.list_templates(self._control)

    async def get_template(self, name: str, version: int | None = None) -> StoredTemplate:
        """Return one template."""
        return await templates.get_template(self._control, name, version)

    async def put_template(self, name: str, document: Any) -> StoredTemplate:
        """Store one template."""
        return await templates.put_template(self._control, name, document)

    async def delete_template(self, name: str) -> None:
        """Delete one template."""
        await templates.delete_template(self._control, name)

    async def try_template(
        self, name: str, source: str | None, variables: Mapping[str, str], document: Any = None
    ) -> Rendered | Skip:
        """Return the job that a template makes of a source."""
        blueprint = await templates.tried_template(self._control, name, document)
        return await templates.render(self._control, blueprint, source, variables)

    async def count_sources(self, batch: Batch, on_progress: Callable[[Count], object]) -> Counted:
        """Return how many sources there are."""
        return await batches.count_batch(self._control, batch, on_progress)

    def submit_sources(self, batch: Batch) -> AsyncIterator[Made | Skipped | Failed]:
        """Yield what becomes of each source."""
        return batches.submit_batch(self._control, batch)

    async def scan(
        self, document: Mapping[str, Any], on_progress: Callable[[Mapping[str, Any]], object]
    ) -> dict[str, Any]:
        """Return what is found in a folder."""
        return await scans.scan_now(self._control, document, on_progress)

    async def list_folders(self) -> list[StoredFolder]:
        """Return the folders."""
        return await folders.list_folders(self._control)

    async def get_folder(self, name: str) -> StoredFolder:
        """Return one folder."""
        return await folders.get_folder(self._control, name)

    async def list_files(self, name: str, state: str | None, limit: int) -> list[FolderFile]:
        """Return what was seen in a folder."""
        return await folders.list_files(self._control, name, state, limit)

    async def put_folder(self, name: str, document: Any) -> StoredFolder:
        """Store one folder."""
        # It reaches into every storage: who only looks at folders does without.
        from worker.app.folder_files import WatchedFiles  # noqa: PLC0415

        there = WatchedFiles.of(self._settings, self._control.stores)
        return await folders.put_folder(self._control, there, name, document)

    async def pause_folder(self, name: str, *, paused: bool) -> StoredFolder:
        """Pause one folder, or take from it again."""
        return await folders.pause_folder(self._control, name, paused=paused)

    async def delete_folder(self, name: str) -> None:
        """Delete one folder."""
        await folders.delete_folder(self._control, name)

    async def list_hooks(self) -> list[HookView]:
        """Return the hooks."""
        return [HookView.of(one.name, one.hook) for one in await hooks.list_hooks(self._control)]

    async def get_hook(self, name: str) -> HookView:
        """Return one hook."""
        return HookView.of(name, (await hooks.get_hook(self._control, name)).hook)

    async def put_hook(self, name: str, document: Any) -> HookView:
        """Store one hook."""
        return HookView.of(name, await hooks.put_hook(self._control, name, document))

    async def list_calls(self, name: str, limit: int) -> list[HookCall]:
        """Return the calls of a hook."""
        return await hooks.list_calls(self._control, name, limit)

    async def delete_hook(self, name: str) -> None:
        """Delete one hook."""
        await hooks.delete_hook(self._control, name)

    async def list_schedules(self) -> list[ScheduleRecord]:
        """Return the schedules."""
        return await schedules.list_schedules(self._control)

    async def get_schedule(self, name: str) -> ScheduleRecord:
        """Return one schedule."""
        return await schedules.get_schedule(self._control, name)

    async def put_schedule(self, name: str, document: Any) -> ScheduleRecord:
        """Store one schedule."""
        return await schedules.put_schedule(self._control, name, document)

    async def delete_schedule(self, name: str) -> None:
        """Delete one schedule."""
        await schedules.delete_schedule(self._control, name)

    async def run_schedule(self, name: str) -> str:
        """Run one schedule now."""
        return await schedules.run_schedule(self._control, name, f"command {os.getpid()} {secrets.token_hex(4)}")
