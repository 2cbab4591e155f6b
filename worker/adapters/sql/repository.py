"""Every store over one database."""

from __future__ import annotations

from worker.adapters.sql.attempts.store import SqlAttempts
from worker.adapters.sql.base import SqlBase
from worker.adapters.sql.fleet import SqlFleet
from worker.adapters.sql.intake.folders import SqlFolders
from worker.adapters.sql.intake.hooks import SqlHooks
from worker.adapters.sql.intake.notifications import SqlNotifications
from worker.adapters.sql.intake.scans import SqlScans
from worker.adapters.sql.intake.schedules import SqlSchedules
from worker.adapters.sql.intake.sources import SqlSources
from worker.adapters.sql.intake.templates import SqlTemplates
from worker.adapters.sql.jobs.store import SqlJobs
from worker.adapters.sql.originals import SqlOriginals
from worker.adapters.sql.parts.store import SqlParts
from worker.adapters.sql.reconcile import SqlReconcile


class SqlRepository(
    SqlAttempts,
    SqlJobs,
    SqlFleet,
    SqlReconcile,
    SqlParts,
    SqlOriginals,
    SqlNotifications,
    SqlFolders,
    SqlHooks,
    SqlTemplates,
    SqlSources,
    SqlSchedules,
    SqlScans,
    SqlBase,
):
    """`worker.core.ports.Repository`: each subject is a store of its own."""
