"""What the tests of commands do to the broker, and see of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from tests.support.queues import bury, channel_of, depth, taken
from worker.core.record import RefusalRecord

GARBAGE = b"{ this is no job"


def sha(body):
    return hashlib.sha256(body).hexdigest()


def refuse(cli, body, *problems, message_id="by-message", kind="InvalidJob"):
    """Record a refusal as a worker does."""
    refusal = RefusalRecord(
        refusal_id=sha(body)[:8], message_id=message_id, body_sha256=sha(body), excerpt="", error="; ".join(problems),
        error_type=kind, problems=list(problems), worker="a-worker", refused_at=datetime.now(UTC),
    )  # fmt: skip
    cli.ask(lambda rows: rows.refuse(refusal))


def waiting(url, queue):
    with channel_of(url) as channel:
        return depth(channel, queue)


def arrived(url, queue):
    """Return (properties, body) of the next message, acknowledged."""
    with channel_of(url) as channel:
        method, properties, body = taken(channel, queue)
        channel.basic_ack(method.delivery_tag)
        return properties, body


def buried(cli_with_broker, url, job_id, why="ffmpeg exited 1 after 3 s"):
    """Let a job die, in the database and in the broker."""
    body = cli_with_broker.died(job_id, why)
    bury(url, [body], message_id=job_id)
    return body
