"""The outbox: messages that are written with what makes them true, until the broker has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from worker.adapters.sql.schema import jobs, moment, outbox
from worker.core.ports.parts import OutboxMessage

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection


def write_message(connection: Connection, job_id: str, body: bytes, state: str) -> None:
    """Write a message into the outbox."""
    connection.execute(insert(outbox).values(job_id=job_id, body=body, state=state, written_at=moment()))


def body_of(document: object) -> bytes:
    """Return a stored document as a message."""
    return json.dumps(document).encode()


def unpublished(connection: Connection, older_than_seconds: float, limit: int) -> list[OutboxMessage]:
    """Return the oldest messages, each with its job's route."""
    found = connection.execute(
        select(
            outbox.c.number, outbox.c.job_id, jobs.c.title, outbox.c.body, jobs.c.lane, jobs.c.priority,
            jobs.c.dialect, outbox.c.state, jobs.c.parent_id.is_not(None), jobs.c.error, jobs.c.error_type,
        )
        .join(jobs, jobs.c.job_id == outbox.c.job_id)
        .where(outbox.c.written_at <= moment(-older_than_seconds))
        .order_by(outbox.c.number)
        .limit(limit)
    )  # fmt: skip
    return [OutboxMessage(*row) for row in found]


def published(connection: Connection, numbers: Collection[int]) -> None:
    """Delete messages that are published."""
    connection.execute(delete(outbox).where(outbox.c.number.in_(list(numbers))))


def outbox_of(connection: Connection, job_id: str) -> list[int]:
    """Return the numbers of a job's messages."""
    return list(connection.execute(select(outbox.c.number).where(outbox.c.job_id == job_id)).scalars())
