"""Jobs in parts, and the outbox: messages that are written with what makes them true."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _moment() -> sa.types.TypeEngine[Any]:
    """Return PostgreSQL's point in time; SQLite has none and keeps seconds since 1970."""
    return sa.DateTime(timezone=True).with_variant(sa.Float(), "sqlite")


def upgrade() -> None:
    """Add the columns of parts, and make the outbox."""
    op.add_column("jobs", sa.Column("parent_id", sa.Text()))
    op.add_column("jobs", sa.Column("part_index", sa.Integer()))
    op.add_column("jobs", sa.Column("part_key", sa.Text()))
    op.add_column("jobs", sa.Column("part_frames", sa.Integer()))
    op.add_column("jobs", sa.Column("plan", sa.JSON()))
    op.drop_index("ix_jobs_listing", "jobs")
    op.drop_index("ix_jobs_state", "jobs")
    listing = ["created_at", "job_id", "state", "lane", "modules", "searched", "parent_id"]
    op.create_index("ix_jobs_listing", "jobs", listing)
    op.create_index("ix_jobs_state", "jobs", ["state", "created_at", "job_id", "lane", "parent_id"])
    op.create_index("ix_jobs_parent_id", "jobs", ["parent_id", "part_index"])
    op.create_table(
        "outbox",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("written_at", _moment(), nullable=False),
    )
