"""Jobs, attempts, artifacts, adoptions, refusals, option sets, workers and kept files."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _moment() -> sa.types.TypeEngine[Any]:
    """Return PostgreSQL's point in time; SQLite has none and keeps seconds since 1970."""
    return sa.DateTime(timezone=True).with_variant(sa.Float(), "sqlite")


def upgrade() -> None:
    """Make the tables in the order in which they point at each other."""
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Text(), primary_key=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("lease_until", _moment()),
        sa.Column("not_before", _moment()),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("percent", sa.Float()),
        sa.Column("task", sa.Text()),
        sa.Column("fps", sa.Float()),
        sa.Column("speed", sa.Float()),
        sa.Column("eta_seconds", sa.Float()),
        sa.Column("manifest_url", sa.Text()),
        sa.Column("thumbnail_url", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("error_type", sa.Text()),
        sa.Column("error_worker", sa.Text()),
        sa.Column("error_attempt", sa.Integer()),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("pending_deletions", sa.JSON(), nullable=False),
        sa.Column("callback_url", sa.Text()),
        sa.Column("callback_state", sa.Text()),
        sa.Column("refused_by", sa.JSON(), nullable=False),
        sa.Column("unserved_since", _moment()),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("started_at", _moment()),
        sa.Column("finished_at", _moment()),
    )
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])
    op.create_index("ix_jobs_state_created_at", "jobs", ["state", "created_at"])
    op.create_index("ix_jobs_callback_state", "jobs", ["callback_state"])
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("started_at", _moment(), nullable=False),
        sa.Column("ended_at", _moment()),
        sa.Column("outcome", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("error_type", sa.Text()),
        sa.Column("announced", sa.JSON(), nullable=False),
    )
    op.create_table(
        "artifacts",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("duration", sa.Float()),
    )
    op.create_table(
        "adoptions",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("adopted_at", _moment(), nullable=False),
    )
    op.create_index("ix_adoptions_body_sha256", "adoptions", ["body_sha256"])
    op.create_table(
        "refusals",
        sa.Column("body_sha256", sa.Text(), primary_key=True),
        sa.Column("message_id", sa.Text(), primary_key=True),
        sa.Column("refusal_id", sa.Text(), nullable=False),
        sa.Column("excerpt", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("refused_at", _moment(), nullable=False),
    )
    op.create_index("ix_refusals_refused_at", "refusals", ["refused_at"])
    op.create_table(
        "option_sets",
        sa.Column("module", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("options", sa.JSON(), nullable=False),
    )
    op.create_table(
        "workers",
        sa.Column("worker_id", sa.Text(), primary_key=True),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("job_title", sa.Text()),
        sa.Column("lanes", sa.JSON(), nullable=False),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("hardware", sa.JSON(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("seen_at", _moment(), nullable=False),
    )
    op.create_table(
        "kept",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("worker", sa.Text(), primary_key=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("artifacts", sa.JSON(), nullable=False),
        sa.Column("expires_at", _moment(), nullable=False),
    )
