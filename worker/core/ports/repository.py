"""The database: one connection to the stores of every subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from worker.core.ports.attempts import AttemptStore
from worker.core.ports.fleet import FleetStore
from worker.core.ports.folders import FolderStore
from worker.core.ports.hooks import HookStore
from worker.core.ports.intake import SourceStore, TemplateStore
from worker.core.ports.jobs import JobStore
from worker.core.ports.notifications import NotificationStore
from worker.core.ports.originals import OriginalStore
from worker.core.ports.parts import PartStore
from worker.core.ports.reconcile import ReconcileStore
from worker.core.ports.scans import ScanStore
from worker.core.ports.schedules import ScheduleStore

if TYPE_CHECKING:
    from worker.core.ports.claims import DatabaseFacts


class Repository(
    AttemptStore,
    JobStore,
    FleetStore,
    ReconcileStore,
    PartStore,
    OriginalStore,
    NotificationStore,
    FolderStore,
    HookStore,
    TemplateStore,
    SourceStore,
    ScheduleStore,
    ScanStore,
    Protocol,
):
    """Every store over one database.

    Every method raises DatabaseUnavailable when the database does not answer. Times are the database's clock.
    """

    async def facts(self) -> DatabaseFacts:
        """Return what is known of the database itself."""
        ...

    async def identity(self) -> str:
        """Return which database this is: random, made with it, and kept by a copy of it."""
        ...

    async def check(self) -> None:
        """Return if the schema is the newest; Misconfigured names the command otherwise."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
