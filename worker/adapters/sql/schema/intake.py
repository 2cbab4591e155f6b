"""The tables of jobs that make themselves: templates, sources, scans, schedules, folders, hooks, notices, originals."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, Table

from worker.adapters.sql.schema.types import Moment, Words, metadata

originals = Table(
    "originals",
    metadata,
    # What a job replaced or deleted. It outlives the job's own row: a file of which nobody knows is never found again.
    Column("job_id", Words, primary_key=True),
    # SHA-256 of the URI: the URI itself may be longer than an index takes.
    Column("uri_key", Words, primary_key=True),
    Column("uri", Words, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    # What the file system or the bucket said of it when it was kept.
    Column("version", Words, nullable=False),
    # What took its place; NULL where it was deleted.
    Column("new_bytes", BigInteger),
    Column("new_sha256", Words),
    # `planned`, `kept`, `restored`, `purged`.
    Column("state", Words, nullable=False),
    Column("kept_at", Moment, nullable=False),
    # When what took its place was read once as a whole.
    Column("proved_at", Moment),
    Column("lease_until", Moment),
    Column("problem", Words),
    Index("ix_originals_state", "state", "kept_at"),
)

notifications = Table(
    "notifications",
    metadata,
    Column("name", Words, primary_key=True),
    Column("document", JSON, nullable=False),
    # Jobs that ended before it are none of its.
    Column("created_at", Moment, nullable=False),
    # Jobs that ended before are not looked at any more.
    Column("seen_until", Moment, nullable=False),
    # The next message goes out then at the earliest.
    Column("due_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("failures", Integer, nullable=False),
    Column("problem", Words),
    # Who sends for it, and until when.
    Column("owner", Words),
    Column("lease_until", Moment),
)

notices = Table(
    "notices",
    metadata,
    Column("notification", Words, primary_key=True),
    Column("job_id", Words, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("state", Words, primary_key=True),
    Column("ended_at", Moment, nullable=False),
    # `waiting`, `sent`, `failed`.
    Column("fate", Words, nullable=False),
    Index("ix_notices_fate", "notification", "fate", "ended_at"),
)

hooks = Table(
    "hooks",
    metadata,
    Column("name", Words, primary_key=True),
    Column("document", JSON, nullable=False),
)

hook_calls = Table(
    "hook_calls",
    metadata,
    Column("hook", Words, primary_key=True),
    # SHA-256 of what was signed: the same call again is the same row.
    Column("digest", Words, primary_key=True),
    Column("event", Words, nullable=False),
    Column("outcome", Words, nullable=False),
    # What it is about, as a repository and its branch: a call waits for no second job about the same.
    Column("subject", Words, nullable=False),
    Column("job_id", Words),
    Column("received_at", Moment, nullable=False),
    Index("ix_hook_calls_received_at", "hook", "received_at"),
)

folders = Table(
    "folders",
    metadata,
    Column("name", Words, primary_key=True),
    Column("document", JSON, nullable=False),
    Column("paused", Boolean, nullable=False),
    # Which server looks at it, and until when.
    Column("owner", Words),
    Column("lease_until", Moment),
    Column("scanned_at", Moment),
    Column("files", Integer, nullable=False),
    Column("problem", Words),
)

folder_files = Table(
    "folder_files",
    metadata,
    Column("folder", Words, primary_key=True),
    # SHA-256 of the path below the folder.
    Column("path_key", Words, primary_key=True),
    Column("path", Words, nullable=False),
    # SHA-256 of what a film and its subtitles have in common.
    Column("group_key", Words, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("version", Words, nullable=False),
    # `settling`, `sidecar`, `submitted`, `done`, `skipped`, `failed`.
    Column("state", Words, nullable=False),
    # Since when size and version are as they are, by the database's clock.
    Column("still_since", Moment, nullable=False),
    Column("job_id", Words),
    Column("reason", Words),
    Column("sidecars", JSON, nullable=False),
    Index("ix_folder_files_state", "folder", "state", "still_since"),
    Index("ix_folder_files_group_key", "folder", "group_key"),
    Index("ix_folder_files_job_id", "job_id"),
)

templates = Table(
    "templates",
    metadata,
    Column("name", Words, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # NULL says that the template was deleted then.
    Column("document", JSON(none_as_null=True)),
    Column("stored_at", Moment, nullable=False),
)

origins = Table(
    "origins",
    metadata,
    # No foreign key: what was done is known for longer than the job's own row.
    Column("job_id", Words, primary_key=True),
    Column("template", Words, nullable=False),
    Column("version", Integer, nullable=False),
    Column("source", Words, nullable=False),
    Column("fingerprint", Words, nullable=False),
    Column("source_bytes", BigInteger, nullable=False),
    # `submit`, or `folder NAME`, `hook NAME`, `schedule NAME`.
    Column("asked_by", Words, nullable=False),
    Column("made_at", Moment, nullable=False),
    Index("ix_origins_fingerprint", "fingerprint", "template"),
    Index("ix_origins_template", "template", "made_at"),
)

sources = Table(
    "sources",
    metadata,
    Column("uri", Words, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    # Seconds since 1970 by the clock of the file's own host: compared with itself alone.
    Column("modified", Float(53), nullable=False),
    Column("version", Words, nullable=False),
    Column("fingerprint", Words),
    # What a probe found, or why it found nothing.
    Column("facts", JSON(none_as_null=True)),
    Column("problem", Words),
    # Empty for a file that was decoded whole without an error, else what was wrong.
    Column("health", Words),
    Column("seen_at", Moment, nullable=False),
    Index("ix_sources_seen_at", "seen_at"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", Words, primary_key=True),
    Column("document", JSON, nullable=False),
    Column("next_at", Moment),
    # Which server runs it now, and until when it is its own without a sign of life.
    Column("owner", Words),
    Column("lease_until", Moment),
    Column("last_at", Moment),
    # `done`, and what was made, or why it failed.
    Column("last_outcome", Words),
)

scans = Table(
    "scans",
    metadata,
    Column("scan_id", Words, primary_key=True),
    Column("document", JSON, nullable=False),
    # `waiting`, `running`, `completed`, `failed`.
    Column("state", Words, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    # Which server runs it now, and until when it is its own without a sign of life.
    Column("owner", Words),
    Column("lease_until", Moment),
    # How often a server began it: one that ends its servers is not begun for ever.
    Column("runs", Integer, nullable=False),
    Column("progress", JSON, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("problem", Words),
    Index("ix_scans_state", "state", "created_at"),
)
