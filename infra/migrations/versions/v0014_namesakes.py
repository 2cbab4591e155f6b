"""The process that reports under a worker's name, so that two of one name are noticed."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a worker of an older version writes nothing there."""
    op.add_column("workers", sa.Column("instance", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("workers", "instance")
