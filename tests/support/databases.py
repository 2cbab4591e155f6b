"""Databases as provisioning makes them, without the seconds that every migration takes."""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from contextlib import closing
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, create_engine

from infra.migrations import upgrade


def provision(path: Path) -> str:
    """Return the URL of a new SQLite database at `path`: every table, no row, an identity of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_empty())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE identity SET identity = ?", (uuid.uuid4().hex,))
    return f"sqlite:///{path}"


@cache
def _empty() -> bytes:
    """Return the file that the migrations make, made once a process."""
    with tempfile.TemporaryDirectory(prefix="leveret-empty-") as folder:
        path = Path(folder) / "empty.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def engine_of(url: str) -> Engine:
    """Return SQLAlchemy's own engine for one of our URLs."""
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
