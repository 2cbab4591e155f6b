"""The logs of an attempt's tools."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _moment() -> sa.types.TypeEngine[Any]:
    """Return PostgreSQL's point in time; SQLite has none and keeps seconds since 1970."""
    return sa.DateTime(timezone=True).with_variant(sa.Float(), "sqlite")


def upgrade() -> None:
    """Make the table of logs."""
    op.create_table(
        "job_logs",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", _moment(), nullable=False),
    )
    op.create_index("ix_job_logs_updated_at", "job_logs", ["updated_at"])
