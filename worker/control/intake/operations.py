"""The use cases of intake as the commands call them: templates and their sources, watched folders, hooks, schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from worker.control.intake.batches import Batch, Count, Counted, Failed
    from worker.control.intake.blueprint import Skip
    from worker.control.intake.templates import Made, Rendered, Skipped
    from worker.core.folder import FolderFile, StoredFolder
    from worker.core.hook import HookCall, HookView
    from worker.core.schedule import ScheduleRecord
    from worker.core.template import StoredTemplate


class TemplateOperations(Protocol):
    """Templates."""

    async def list_templates(self) -> list[StoredTemplate]:
        """Return the newest version of each template, shipped ones too."""
        ...

    async def get_template(self, name: str, version: int | None = None) -> StoredTemplate:
        """Return a template, its newest version by default."""
        ...

    async def put_template(self, name: str, document: Any) -> StoredTemplate:
        """Check a template and store it as the next version."""
        ...

    async def delete_template(self, name: str) -> None:
        """Delete a template."""
        ...

    async def try_template(
        self, name: str, source: str | None, variables: Mapping[str, str], document: Any = None
    ) -> Rendered | Skip:
        """Return the job that a template makes of a source; `document` is tried in place of the stored template."""
        ...


class SourceOperations(Protocol):
    """A template and many sources."""

    async def count_sources(self, batch: Batch, on_progress: Callable[[Count], object]) -> Counted:
        """Return how many sources there are, looked at before anything is submitted."""
        ...

    def submit_sources(self, batch: Batch) -> AsyncIterator[Made | Skipped | Failed]:
        """Yield what becomes of each source."""
        ...

    async def scan(
        self, document: Mapping[str, Any], on_progress: Callable[[Mapping[str, Any]], object]
    ) -> dict[str, Any]:
        """Return what is found in a folder that is judged by a template; `document` is a `ScanRequest`."""
        ...


class FolderOperations(Protocol):
    """Watched folders."""

    async def list_folders(self) -> list[StoredFolder]:
        """Return the folders by name."""
        ...

    async def get_folder(self, name: str) -> StoredFolder:
        """Return one folder with its counts."""
        ...

    async def list_files(self, name: str, state: str | None, limit: int) -> list[FolderFile]:
        """Return what was seen in a folder, the newest first."""
        ...

    async def put_folder(self, name: str, document: Any) -> StoredFolder:
        """Store or replace a folder."""
        ...

    async def pause_folder(self, name: str, *, paused: bool) -> StoredFolder:
        """Let nothing be taken from a folder, or let it be taken again."""
        ...

    async def delete_folder(self, name: str) -> None:
        """Delete a folder; its jobs and its files stay."""
        ...


class HookOperations(Protocol):
    """Hooks."""

    async def list_hooks(self) -> list[HookView]:
        """Return the hooks by name."""
        ...

    async def get_hook(self, name: str) -> HookView:
        """Return one hook."""
        ...

    async def put_hook(self, name: str, document: Any) -> HookView:
        """Store or replace a hook."""
        ...

    async def list_calls(self, name: str, limit: int) -> list[HookCall]:
        """Return the calls of a hook, the newest first."""
        ...

    async def delete_hook(self, name: str) -> None:
        """Delete a hook, and what is known of its calls."""
        ...


class ScheduleOperations(Protocol):
    """Schedules."""

    async def list_schedules(self) -> list[ScheduleRecord]:
        """Return the schedules by name."""
        ...

    async def get_schedule(self, name: str) -> ScheduleRecord:
        """Return one schedule."""
        ...

    async def put_schedule(self, name: str, document: Any) -> ScheduleRecord:
        """Store or replace a schedule."""
        ...

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule."""
        ...

    async def run_schedule(self, name: str) -> str:
        """Return how a run of a schedule went that is asked for now."""
        ...


class IntakeOperations(
    TemplateOperations, SourceOperations, FolderOperations, HookOperations, ScheduleOperations, Protocol
):
    """Everything that the commands do with jobs that make themselves."""
