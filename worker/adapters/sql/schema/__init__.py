"""The tables, defined once."""

from worker.adapters.sql.schema.fleet import alembic_version, audit, identity, option_sets, samples, workers
from worker.adapters.sql.schema.jobs import LIVE, WHOLE, artifacts, attempts, job_logs, jobs, kept, outputs
from worker.adapters.sql.schema.messages import adoptions, outbox, refusals
from worker.adapters.sql.schema.types import Moment, Words, metadata, moment

__all__ = [
    "LIVE",
    "WHOLE",
    "Moment",
    "Words",
    "adoptions",
    "alembic_version",
    "artifacts",
    "attempts",
    "audit",
    "identity",
    "job_logs",
    "jobs",
    "kept",
    "metadata",
    "moment",
    "option_sets",
    "outbox",
    "outputs",
    "refusals",
    "samples",
    "workers",
]
