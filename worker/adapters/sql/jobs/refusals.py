"""The messages that never became a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import refusals
from worker.core.record import RefusalRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection


def refuse(connection: Connection, refusal: RefusalRecord) -> None:
    """Record a message that never became a job; the same message again renews its row."""
    values = refusal.model_dump() | {"message_id": refusal.message_id or ""}
    connection.execute(
        upsert(connection, refusals)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[refusals.c.body_sha256, refusals.c.message_id],
            set_={name: value for name, value in values.items() if name not in {"body_sha256", "message_id"}},
        )
    )


def list_refusals(connection: Connection, limit: int) -> list[RefusalRecord]:
    """Return the newest refusals first."""
    rows = connection.execute(select(refusals).order_by(refusals.c.refused_at.desc()).limit(limit))
    return [
        RefusalRecord.model_validate(dict(row) | {"message_id": row["message_id"] or None}) for row in rows.mappings()
    ]


def forget_refusals(connection: Connection, body_sha256: str | None) -> int:
    """Delete the refusals of one body, or all; return how many."""
    statement = delete(refusals)
    if body_sha256 is not None:
        statement = statement.where(refusals.c.body_sha256 == body_sha256)
    return connection.execute(statement).rowcount
