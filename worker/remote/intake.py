"""`IntakeOperations` over a server's API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import Refused
from worker.control.intake.batches import Count, Counted, Failed
from worker.control.intake.blueprint import Skip
from worker.control.intake.templates import Made, Rendered, Skipped
from worker.core.folder import FolderFile, StoredFolder
from worker.core.hook import HookCall, HookView
from worker.core.schedule import ScheduleRecord
from worker.core.template import StoredTemplate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from worker.control.intake.batches import Batch
    from worker.remote.link import Link


LOOK_SECONDS: Final = 0.3


class RemoteIntake:
    """Templates and their sources, watched folders, hooks and schedules of a server."""

    _link: Link

    # ------------------------------------------------------------------ templates

    async def list_templates(self) -> list[StoredTemplate]:
        """Return the templates."""
        return [StoredTemplate.model_validate(one) for one in await self._link.ask("templates")]

    async def get_template(self, name: str, version: int | None = None) -> StoredTemplate:
        """Return one template."""
        return StoredTemplate.model_validate(await self._link.ask("templates", name, version=version))

    async def put_template(self, name: str, document: Any) -> StoredTemplate:
        """Store one template."""
        return StoredTemplate.model_validate(await self._link.put(document, "templates", name))

    async def delete_template(self, name: str) -> None:
        """Delete one template."""
        await self._link.send("DELETE", "templates", name)

    async def try_template(
        self, name: str, source: str | None, variables: Mapping[str, str], document: Any = None
    ) -> Rendered | Skip:
        """Return the job that a template makes of a source."""
        asked = {"source": source, "variables": dict(variables), "document": document}
        found = await self._link.send("POST", "templates", name, "try", body=json.dumps(asked).encode())
        if found["job"] is None:
            return Skip(found["reason"])
        return Rendered(found["template"], found["version"], found["source"], found["job"], found["variables"])

    # ------------------------------------------------------------------ a template and many sources

    async def count_sources(self, batch: Batch, on_progress: Callable[[Count], object]) -> Counted:
        """Return how many sources there are."""
        counted = Counted(len(batch.sources))
        async for line in self._link.stream("POST", "templates", batch.template, "count", body=_body(batch)):
            match line:
                case {"progress": dict() as found}:
                    on_progress(_count(found))
                case {"counted": dict() as found}:
                    counted = Counted(found["named"], tuple(map(_count, found["patterns"])))
        return counted

    async def submit_sources(self, batch: Batch) -> AsyncIterator[Made | Skipped | Failed]:
        """Yield what becomes of each source."""
        async for line in self._link.stream("POST", "templates", batch.template, "jobs", "stream", body=_body(batch)):
            match line:
                case {"made": dict() as found}:
                    yield Made(found["source"], found["job_id"], tuple(found["warnings"]))
                case {"skipped": dict() as found}:
                    yield Skipped(found["source"], found["reason"], found["job_id"])
                case {"failed": dict() as found}:
                    yield Failed(found["source"], found["reason"])

    async def scan(
        self, document: Mapping[str, Any], on_progress: Callable[[Mapping[str, Any]], object]
    ) -> dict[str, Any]:
        """Return what is found in a folder by the server, which is asked again and again until it is done."""
        found = await self._link.send("POST", "scans", body=json.dumps(document).encode())
        scan_id = str(found["scan_id"])
        try:
            while found["state"] not in {"completed", "failed"}:
                await asyncio.sleep(LOOK_SECONDS)
                found = await self._link.ask("scans", scan_id)
                on_progress(found["progress"])
        except asyncio.CancelledError:
            # Who asked went away: nobody waits for the rest of it.
            await self._link.send("DELETE", "scans", scan_id)
            raise
        if found["result"] is None:
            raise Refused(found["problem"] or "the scan failed")
        return dict(found["result"])

    # ------------------------------------------------------------------ watched folders

    async def list_folders(self) -> list[StoredFolder]:
        """Return the folders."""
        return [StoredFolder.model_validate(one) for one in await self._link.ask("folders")]

    async def get_folder(self, name: str) -> StoredFolder:
        """Return one folder."""
        return StoredFolder.model_validate(await self._link.ask("folders", name))

    async def list_files(self, name: str, state: str | None, limit: int) -> list[FolderFile]:
        """Return what was seen in a folder."""
        found = await self._link.ask("folders", name, "files", state=state, limit=limit)
        return [FolderFile.model_validate(one) for one in found]

    async def put_folder(self, name: str, document: Any) -> StoredFolder:
        """Store one folder."""
        return StoredFolder.model_validate(await self._link.put(document, "folders", name))

    async def pause_folder(self, name: str, *, paused: bool) -> StoredFolder:
        """Pause one folder, or take from it again."""
        found = await self._link.send("POST", "folders", name, "pause" if paused else "resume")
        return StoredFolder.model_validate(found)

    async def delete_folder(self, name: str) -> None:
        """Delete one folder."""
        await self._link.send("DELETE", "folders", name)

    # ------------------------------------------------------------------ hooks

    async def list_hooks(self) -> list[HookView]:
        """Return the hooks."""
        return [HookView.model_validate(one) for one in await self._link.ask("hooks")]

    async def get_hook(self, name: str) -> HookView:
        """Return one hook."""
        return HookView.model_validate(await self._link.ask("hooks", name))

    async def put_hook(self, name: str, document: Any) -> HookView:
        """Store one hook."""
        return HookView.model_validate(await self._link.put(document, "hooks", name))

    async def list_calls(self, name: str, limit: int) -> list[HookCall]:
        """Return the calls of a hook."""
        return [HookCall.model_validate(one) for one in await self._link.ask("hooks", name, "calls", limit=limit)]

    async def delete_hook(self, name: str) -> None:
        """Delete one hook."""
        await self._link.send("DELETE", "hooks", name)

    # ------------------------------------------------------------------ schedules

    async def list_schedules(self) -> list[ScheduleRecord]:
        """Return the schedules."""
        return [ScheduleRecord.model_validate(one) for one in await self._link.ask("schedules")]

    async def get_schedule(self, name: str) -> ScheduleRecord:
        """Return one schedule."""
        return ScheduleRecord.model_validate(await self._link.ask("schedules", name))

    async def put_schedule(self, name: str, document: Any) -> ScheduleRecord:
        """Store one schedule."""
        return ScheduleRecord.model_validate(await self._link.put(document, "schedules", name))

    async def delete_schedule(self, name: str) -> None:
        """Delete one schedule."""
        await self._link.send("DELETE", "schedules", name)

    async def run_schedule(self, name: str) -> str:
        """Run one schedule now."""
        outcome = ""
        async for line in self._link.stream("POST", "schedules", name, "run", body=b""):
            outcome = str(line.get("outcome", outcome))
        return outcome


def _body(batch: Batch) -> bytes:
    return json.dumps(
        {
            "sources": batch.sources, "variables": dict(batch.variables), "again": batch.again, "limit": batch.limit,
            "lane": batch.lane, "priority": batch.priority,
        }
    ).encode()  # fmt: skip


def _count(document: Mapping[str, int]) -> Count:
    return Count(**{name: document[name] for name in ("files", "matching", "bytes", "done", "unreadable")})
