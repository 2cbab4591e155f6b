"""The tables of messages: those to publish, those without an id, those that are no job."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, LargeBinary, Table

from worker.adapters.sql.schema.types import Moment, Words, metadata

outbox = Table(
    "outbox",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("body", LargeBinary, nullable=False),
    # What became of the job in the transaction that wrote the message.
    Column("state", Words, nullable=False),
    Column("written_at", Moment, nullable=False),
)

adoptions = Table(
    "adoptions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("body_sha256", Words, nullable=False),
    Column("job_id", Words, nullable=False),
    Column("adopted_at", Moment, nullable=False),
    # Which delivery has it, until the copy that carries the id is confirmed: only an open one is used again.
    Column("holder", Words),
    Index("ix_adoptions_body_sha256", "body_sha256"),
)

refusals = Table(
    "refusals",
    metadata,
    Column("body_sha256", Words, primary_key=True),
    # Empty for a message without one: NULL would equal no other NULL, and the same message would be two rows.
    Column("message_id", Words, primary_key=True),
    Column("refusal_id", Words, nullable=False),
    Column("excerpt", Words, nullable=False),
    Column("error", Words, nullable=False),
    Column("error_type", Words, nullable=False),
    Column("problems", JSON, nullable=False),
    Column("worker", Words, nullable=False),
    Column("refused_at", Moment, nullable=False),
    Index("ix_refusals_refused_at", "refused_at"),
)
