"""The repository in SQL: SQLite for one host, PostgreSQL for a fleet. Each subject has a store of its own.

`SqlRepository` has them all; `worker.adapters.sql.lookups` has those that looking at jobs needs. Each is imported by
whoever uses it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.adapters.sql.repository import SqlRepository

__all__ = ["SqlRepository"]


def __getattr__(name: str) -> Any:
    """Return `SqlRepository`, imported at its first use: a command that looks at a job does without most stores."""
    if name == "SqlRepository":
        return import_module("worker.adapters.sql.repository").SqlRepository
    raise AttributeError(name)
