"""The tables of workers, of what operators store and did, and of the database itself."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, MetaData, Table, Text

from worker.adapters.sql.schema.types import Moment, Words, metadata

workers = Table(
    "workers",
    metadata,
    Column("worker_id", Words, primary_key=True),
    Column("hostname", Words, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Words, nullable=False),
    Column("status", Words, nullable=False),
    # What people want of it: `run`, `pause`, `drain`.
    Column("wanted", Words, nullable=False),
    Column("job_id", Words),
    Column("job_title", Words),
    Column("lanes", JSON, nullable=False),
    Column("capabilities", JSON, nullable=False),
    Column("hardware", JSON, nullable=False),
    Column("problem", Words),
    # The process that reports: two workers of one name have two.
    Column("instance", Words, nullable=False, server_default=""),
    Column("seen_at", Moment, nullable=False),
)

samples = Table(
    "samples",
    metadata,
    Column("worker_id", Words, primary_key=True),
    Column("at", Moment, primary_key=True),
    Column("cpu_percent", Float, nullable=False),
    Column("ram_percent", Float, nullable=False),
    Column("disk_free_bytes", BigInteger, nullable=False),
    Index("ix_samples_at", "at"),
)

option_sets = Table(
    "option_sets",
    metadata,
    Column("module", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("options", JSON, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    # Who: the name of their token, its role, and the address they came from.
    Column("actor", Words, nullable=False),
    Column("role", Words, nullable=False),
    Column("client", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("target", Words, nullable=False),
    Column("detail", JSON, nullable=False),
    # `done`, or why it was refused.
    Column("outcome", Words, nullable=False),
    Index("ix_audit_target", "target"),
)

identity = Table(
    "identity",
    metadata,
    # One row, random, written with the table: a broker that was provisioned for this database has it too.
    Column("identity", Words, primary_key=True),
)

alembic_version = Table("alembic_version", MetaData(), Column("version_num", Text, primary_key=True))
"""Alembic's own table, which we only read."""
