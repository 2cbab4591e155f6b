"""The stores that looking at jobs needs, and few imports."""

from __future__ import annotations

from worker.adapters.sql.base import SqlBase
from worker.adapters.sql.fleet import SqlFleet
from worker.adapters.sql.jobs.store import SqlJobs


class SqlLookups(SqlJobs, SqlFleet, SqlBase):
    """`worker.core.ports.JobLookups` over one database."""
