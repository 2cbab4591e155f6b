"""For the page: the audit, measurements of hosts, and an index of waiting jobs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _moment() -> sa.types.TypeEngine[Any]:
    """Return PostgreSQL's point in time; SQLite has none and keeps seconds since 1970."""
    return sa.DateTime(timezone=True).with_variant(sa.Float(), "sqlite")


def upgrade() -> None:
    """Make the tables and the index."""
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("at", _moment(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
    )
    op.create_index("ix_audit_target", "audit", ["target"])
    op.create_table(
        "samples",
        sa.Column("worker_id", sa.Text(), primary_key=True),
        sa.Column("at", _moment(), primary_key=True),
        sa.Column("cpu_percent", sa.Float(), nullable=False),
        sa.Column("ram_percent", sa.Float(), nullable=False),
        sa.Column("disk_free_bytes", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_samples_at", "samples", ["at"])
    op.create_index("ix_jobs_waiting", "jobs", ["state", "priority", "created_at", "lane", "job_id"])
