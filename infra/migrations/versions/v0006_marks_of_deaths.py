"""Marks of messages that were moved out of the dead letters, and open adoptions."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two columns; adoptions of before are over."""
    op.add_column("jobs", sa.Column("death_mark", sa.Text()))
    op.add_column("adoptions", sa.Column("holder", sa.Text()))
