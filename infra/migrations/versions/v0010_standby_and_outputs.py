"""The copy of a message that waits for its job, the job that makes the file at a place, the database's identity."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the tables; what was announced before is no output of theirs."""
    identity = op.create_table("identity", sa.Column("identity", sa.Text(), primary_key=True))
    op.bulk_insert(identity, [{"identity": uuid.uuid4().hex}])
    op.add_column("jobs", sa.Column("standby", sa.Text()))
    op.create_table(
        "outputs",
        sa.Column("uri_sha256", sa.Text(), primary_key=True),
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
        sa.Column("made", sa.JSON(), nullable=False),
    )
    op.create_index("ix_outputs_job_id", "outputs", ["job_id"])
