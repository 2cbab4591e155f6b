"""The store of known sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import sources
from worker.core.identity import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from worker.adapters.sql.database import Database


class SqlSources:
    """`worker.core.ports.SourceStore`, each method one transaction."""

    _database: Database

    async def sources(self, uris: Collection[str]) -> dict[str, SourceRecord]:
        """Return what is known of these, by URI."""
        return await self._database.read(known, list(uris)) if uris else {}

    async def remember(self, records: Sequence[SourceRecord]) -> None:
        """Store what is known of sources now, in place of what was known."""
        if records:
            await self._database.write_many(len(records), lambda connection: remember(connection, records))

    async def forget_sources(self, older_than_seconds: float) -> int:
        """Delete what nobody has seen for so long; return how many."""
        return await self._database.write(forget, older_than_seconds)


def known(connection: Connection, uris: list[str]) -> dict[str, SourceRecord]:
    """Return what is known of sources; one statement."""
    rows = connection.execute(select(sources).where(sources.c.uri.in_(uris))).mappings()
    return {row["uri"]: SourceRecord.model_validate(row) for row in rows}


def remember(connection: Connection, records: Sequence[SourceRecord]) -> None:
    """Store what is known of sources; one statement."""
    # In one order, so that two who store the same rows wait for each other instead of for ever.
    ordered = sorted(records, key=lambda one: one.uri)
    fresh = upsert(connection, sources).values(seen_at=moment())
    changed = {name: fresh.excluded[name] for name in sources.c.keys() if name != "uri"}  # noqa: SIM118 - no dict
    statement = fresh.on_conflict_do_update(index_elements=[sources.c.uri], set_=changed)
    connection.execute(statement, [one.model_dump(exclude={"seen_at"}) for one in ordered])


def forget(connection: Connection, older_than_seconds: float) -> int:
    """Delete what nobody has seen for so long."""
    return connection.execute(delete(sources).where(sources.c.seen_at < moment(-older_than_seconds))).rowcount
