"""The newest migration, readable without SQLAlchemy."""

from __future__ import annotations

from typing import Final

REVISION: Final = "0014"
"""The revision that a database must have; a test compares it with `infra.migrations.head()`."""
