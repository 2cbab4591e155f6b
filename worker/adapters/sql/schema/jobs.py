"""The tables of jobs and of what their attempts made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, Table

from worker.adapters.sql.schema.types import IsWhole, Moment, Words, metadata

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

LIVE: Final = ("running", "publishing")
"""The states in which an attempt is open."""

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Words, primary_key=True),
    Column("title", Words, nullable=False),
    Column("state", Words, nullable=False),
    Column("round", Integer, nullable=False),
    # The fencing token: grows with every claim, over all rounds.
    Column("epoch", Integer, nullable=False),
    # Charged failures and attempts that ended without a result, both of this round.
    Column("failures", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("lane", Words, nullable=False),
    Column("priority", Words, nullable=False),
    Column("dialect", Words, nullable=False),
    # SHA-256 of the message's body, in hex; empty for a tombstone.
    Column("digest", Words, nullable=False),
    Column("document", JSON, nullable=False),
    # Who had it last, and until when it is theirs without a sign of life.
    Column("owner", Words),
    Column("lease_until", Moment),
    # A retry is not due before.
    Column("not_before", Moment),
    Column("cancel_requested", Boolean, nullable=False),
    Column("percent", Float),
    Column("task", Words),
    Column("fps", Float),
    Column("speed", Float),
    Column("eta_seconds", Float),
    Column("manifest_url", Words),
    Column("thumbnail_url", Words),
    # The last failure, as `Failure` says it.
    Column("error", Words),
    Column("error_type", Words),
    Column("error_worker", Words),
    Column("error_attempt", Integer),
    # What the dead message carries and no publisher can know.
    Column("death_mark", Words),
    Column("facts", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    # External files that a completed job still has to delete.
    Column("pending_deletions", JSON, nullable=False),
    Column("callback_url", Words),
    # NULL: nothing to report; `pending`, `done`, `failed`.
    Column("callback_state", Words),
    # Why the callback could not be delivered.
    Column("callback_error", Words),
    # The workers of its lane that cannot do it, and since when there is one.
    Column("refused_by", JSON, nullable=False),
    Column("unserved_since", Moment),
    # The mark of the one copy of its message that waits while somebody has the job; nothing else carries it.
    Column("standby", Words),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    # What lists look into: the names of its modules, and its id and title in one case. Bounded, for an index has both.
    Column("modules", Words, nullable=False, server_default=""),
    Column("searched", Words, nullable=False, server_default=""),
    # Of a part: the job that it is a part of, its place in the plan, the key of its file, its frames.
    Column("parent_id", Words),
    Column("part_index", Integer),
    Column("part_key", Words),
    Column("part_frames", Integer),
    # Of a divided job: its parts, or why it runs whole.
    Column("plan", JSON),
    Index("ix_jobs_listing", "created_at", "job_id", "state", "lane", "modules", "searched", "parent_id"),
    Index("ix_jobs_state", "state", "created_at", "job_id", "lane", "parent_id"),
    Index("ix_jobs_parent_id", "parent_id", "part_index"),
    Index("ix_jobs_callback_state", "callback_state"),
    Index("ix_jobs_finished_at", "finished_at"),
    Index("ix_jobs_waiting", "state", "priority", "created_at", "lane", "job_id"),
)

WHOLE: Final[ColumnElement[bool]] = IsWhole(jobs.c.parent_id)
"""A job of its own, and no part of one."""

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("round", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("worker", Words, nullable=False),
    # The claim that opened it: repeated, it gets the same attempt.
    Column("token", Words, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("outcome", Words),
    Column("error", Words),
    Column("error_type", Words),
    # The URIs that it was about to publish.
    Column("announced", JSON, nullable=False),
    Index("ix_attempts_worker", "worker", "job_id"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("role", Words, nullable=False),
    Column("uri", Words, nullable=False),
    Column("media_type", Words, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Words, nullable=False),
    Column("duration", Float),
    # SHA-256 of the URI, which may be longer than an index takes.
    Column("uri_key", Words, nullable=False, server_default=""),
    Index("ix_artifacts_uri_key", "uri_key"),
)

outputs = Table(
    "outputs",
    metadata,
    # SHA-256 of the URI, which may be longer than an index takes.
    Column("uri_sha256", Words, primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    # SHA-256 of each file that an attempt of the job was about to show there.
    Column("made", JSON, nullable=False),
    Index("ix_outputs_job_id", "job_id"),
)

kept = Table(
    "kept",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("worker", Words, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("folder", Words, nullable=False),
    Column("artifacts", JSON, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

job_logs = Table(
    "job_logs",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    # zlib-compressed UTF-8.
    Column("content", LargeBinary, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index("ix_job_logs_updated_at", "updated_at"),
)
