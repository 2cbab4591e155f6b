"""Kept originals, notifications, hooks and watched folders; which job made a file is found by its URI."""

import hashlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_AT_ONCE = 1000


def _moment() -> sa.types.TypeEngine[Any]:
    """Return PostgreSQL's point in time; SQLite has none and keeps seconds since 1970."""
    return sa.DateTime(timezone=True).with_variant(sa.Float(), "sqlite")


def upgrade() -> None:
    """Add the tables, and the keys by which artifacts and ends of jobs are found."""
    _index_what_is_there()
    _add_originals()
    _add_notifications()
    _add_hooks()
    _add_folders()


def _index_what_is_there() -> None:
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])
    op.add_column("artifacts", sa.Column("uri_key", sa.Text(), nullable=False, server_default=""))
    connection = op.get_bind()
    artifacts = sa.table(
        "artifacts", sa.column("job_id"), sa.column("position"), sa.column("uri"), sa.column("uri_key")
    )
    while rows := connection.execute(sa.select(artifacts).where(artifacts.c.uri_key == "").limit(_AT_ONCE)).all():
        for row in rows:
            here = (artifacts.c.job_id == row.job_id) & (artifacts.c.position == row.position)
            key = hashlib.sha256(row.uri.encode("utf-8", "replace")).hexdigest()
            connection.execute(sa.update(artifacts).where(here).values(uri_key=key))
    op.create_index("ix_artifacts_uri_key", "artifacts", ["uri_key"])


def _add_originals() -> None:
    op.create_table(
        "originals",
        sa.Column("job_id", sa.Text(), primary_key=True),
        sa.Column("uri_key", sa.Text(), primary_key=True),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("new_bytes", sa.BigInteger()),
        sa.Column("new_sha256", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kept_at", _moment(), nullable=False),
        sa.Column("proved_at", _moment()),
        sa.Column("lease_until", _moment()),
        sa.Column("problem", sa.Text()),
    )
    op.create_index("ix_originals_state", "originals", ["state", "kept_at"])


def _add_notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("seen_until", _moment(), nullable=False),
        sa.Column("due_at", _moment(), nullable=False),
        sa.Column("sent_at", _moment()),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("owner", sa.Text()),
        sa.Column("lease_until", _moment()),
    )
    op.create_table(
        "notices",
        sa.Column("notification", sa.Text(), primary_key=True),
        sa.Column("job_id", sa.Text(), primary_key=True),
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text(), primary_key=True),
        sa.Column("ended_at", _moment(), nullable=False),
        sa.Column("fate", sa.Text(), nullable=False),
    )
    op.create_index("ix_notices_fate", "notices", ["notification", "fate", "ended_at"])


def _add_hooks() -> None:
    op.create_table(
        "hooks",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.create_table(
        "hook_calls",
        sa.Column("hook", sa.Text(), primary_key=True),
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("received_at", _moment(), nullable=False),
    )
    op.create_index("ix_hook_calls_received_at", "hook_calls", ["hook", "received_at"])


def _add_folders() -> None:
    op.create_table(
        "folders",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("lease_until", _moment()),
        sa.Column("scanned_at", _moment()),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text()),
    )
    op.create_table(
        "folder_files",
        sa.Column("folder", sa.Text(), primary_key=True),
        sa.Column("path_key", sa.Text(), primary_key=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("still_since", _moment(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("sidecars", sa.JSON(), nullable=False),
    )
    op.create_index("ix_folder_files_state", "folder_files", ["folder", "state", "still_since"])
    op.create_index("ix_folder_files_group_key", "folder_files", ["folder", "group_key"])
    op.create_index("ix_folder_files_job_id", "folder_files", ["job_id"])
