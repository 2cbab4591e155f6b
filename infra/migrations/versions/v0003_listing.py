"""Indexes for the lists of jobs; why a callback failed."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, fill them for the jobs that there are, and change the indexes."""
    op.add_column("jobs", sa.Column("callback_error", sa.Text()))
    op.add_column("jobs", sa.Column("modules", sa.Text(), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("searched", sa.Text(), nullable=False, server_default=""))
    _fill()
    op.create_index("ix_jobs_listing", "jobs", ["created_at", "job_id", "state", "lane", "modules", "searched"])
    op.create_index("ix_jobs_state", "jobs", ["state", "created_at", "job_id", "lane"])
    op.create_index("ix_attempts_worker", "attempts", ["worker", "job_id"])
    op.drop_index("ix_jobs_created_at", "jobs")
    op.drop_index("ix_jobs_state_created_at", "jobs")


def _fill() -> None:
    """Write of each job the names of its modules, and its id and title in one case."""
    connection = op.get_bind()
    ids = connection.execute(sa.text("SELECT job_id FROM jobs")).scalars().all()
    for job_id in ids:
        row = connection.execute(sa.text("SELECT title, document FROM jobs WHERE job_id = :id"), {"id": job_id}).one()
        document = json.loads(row.document) if isinstance(row.document, str) else row.document
        names = dict.fromkeys(" ".join(str(task["module"]).split()) for task in document.get("tasks", ()))
        kept, room = [], 399
        for name in names:
            room -= len(name.encode()) + 1
            if room >= 0:
                kept.append(name)
        connection.execute(
            sa.text("UPDATE jobs SET modules = :modules, searched = :searched WHERE job_id = :id"),
            {
                "id": job_id,
                "modules": "\n" + "\n".join(kept) + "\n" if kept else "",
                "searched": f"{job_id}\n{row.title}".casefold()[:300],
            },
        )
