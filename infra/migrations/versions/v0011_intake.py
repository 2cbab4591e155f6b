"""Jobs that make themselves: templates, where jobs came from, what sources are, schedules."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0006"
branch_labels = None
depends_on = None


def _moment() -> sa.types.TypeEngine[Any]:
    """Return PostgreSQL's point in time; SQLite has none and keeps seconds since 1970."""
    return sa.DateTime(timezone=True).with_variant(sa.Float(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "templates",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("document", sa.JSON()),
        sa.Column("stored_at", _moment(), nullable=False),
    )
    op.create_table(
        "origins",
        sa.Column("job_id", sa.Text(), primary_key=True),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("source_bytes", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("made_at", _moment(), nullable=False),
    )
    op.create_index("ix_origins_fingerprint", "origins", ["fingerprint", "template"])
    op.create_index("ix_origins_template", "origins", ["template", "made_at"])
    op.create_table(
        "sources",
        sa.Column("uri", sa.Text(), primary_key=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.Float(53), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("facts", sa.JSON()),
        sa.Column("problem", sa.Text()),
        sa.Column("health", sa.Text()),
        sa.Column("seen_at", _moment(), nullable=False),
    )
    op.create_index("ix_sources_seen_at", "sources", ["seen_at"])
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("next_at", _moment()),
        sa.Column("owner", sa.Text()),
        sa.Column("lease_until", _moment()),
        sa.Column("last_at", _moment()),
        sa.Column("last_outcome", sa.Text()),
    )
