"""The tables, defined once, and the two ways in which SQLite and PostgreSQL differ: moments and texts.

`infra/migrations` brings a database to exactly this; a test compares the two.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    literal,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

REVISION: Final = "0014"
"""The newest migration, which `check` expects; a test compares it with `infra.migrations.head()`."""

LIVE: Final = ("running", "publishing")
"""The states in which an attempt is open."""

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Moment(TypeDecorator[datetime]):
    """A point in time, an aware UTC datetime to us.

    PostgreSQL has a type for it. SQLite has none: there it is the seconds since 1970 as a float, so that a
    lease can be added to it and two of them compare as numbers.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that `dialect` stores."""
        return dialect.type_descriptor(Float() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what `dialect` stores for an aware datetime."""
        return value.timestamp() if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the aware UTC datetime for what `dialect` stored."""
        if value is None:
            return None
        return datetime.fromtimestamp(value, UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text from anywhere: a tool's last line, a stranger's message id.

    PostgreSQL's text holds no NUL and neither database half a surrogate pair; each becomes U+FFFD, for a record
    that cannot be written would be a job that cannot end.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return `value` as every database can hold it."""
        del dialect
        return None if value is None else _UNSTORABLE.sub("\ufffd", value)


class _Clock(FunctionElement[datetime]):
    """The database's own clock.

    PostgreSQL's `now()` is the start of the transaction, which may have waited for a row since; its
    `clock_timestamp()` is now. SQLite's julianday counts days from noon of 24 November 4714 BC, to the
    millisecond; `unixepoch('subsec')` needs 3.42 and Debian 12 has 3.40.
    """

    type = Moment()
    inherit_cache = True

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(literal(seconds, Float()))


@lru_cache(maxsize=256)
def moment(seconds: float = 0.0) -> ColumnElement[datetime]:
    """Return the database's own clock, `seconds` from now; the same expression for the same seconds."""
    return _Clock(seconds)


@compiles(_Clock, "sqlite")
def _sqlite_clock(element: _Clock, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"((julianday('now') - 2440587.5) * 86400.0 + ({seconds}))"


@compiles(_Clock, "postgresql")
def _postgresql_clock(element: _Clock, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + ({seconds}) * interval '1 second')"


metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Words, primary_key=True),
    Column("title", Words, nullable=False),
    Column("state", Words, nullable=False),
    Column("round", Integer, nullable=False),
    # The fencing token: grows with every claim, over all rounds.
    Column("epoch", Integer, nullable=False),
    # Charged failures and attempts that ended without a word, both of this round.
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
    # NULL: nothing to tell; `pending`, `done`, `failed`.
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

identity = Table(
    "identity",
    metadata,
    # One row, random, written with the table: a broker that was provisioned for this database has it too.
    Column("identity", Words, primary_key=True),
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

option_sets = Table(
    "option_sets",
    metadata,
    Column("module", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("options", JSON, nullable=False),
)

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

alembic_version = Table("alembic_version", MetaData(), Column("version_num", Text, primary_key=True))
"""Alembic's own table, which we only read."""
