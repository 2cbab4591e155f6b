"""The store of hooks and their calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import hook_calls, hooks
from worker.core.hook import Hook, HookCall, StoredHook

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.adapters.sql.database import Database


class SqlHooks:
    """`worker.core.ports.hooks.HookStore`, each method one transaction."""

    _database: Database

    async def hooks(self) -> list[StoredHook]:
        """Return all of them by name."""
        return await self._database.read(_list)

    async def hook(self, name: str) -> StoredHook | None:
        """Return one."""
        return await self._database.read(_one, name)

    async def put_hook(self, name: str, hook: Hook) -> None:
        """Store or replace one."""
        await self._database.write(_put, name, hook)

    async def delete_hook(self, name: str) -> bool:
        """Return whether there was one; its calls are forgotten."""
        return await self._database.write(_delete, name)

    async def note_call(self, call: HookCall) -> None:
        """Note a call; one that is known keeps when it came first, and what it made then."""
        await self._database.write(_note, call)

    async def hook_calls(self, name: str, limit: int, subject: str | None = None) -> list[HookCall]:
        """Return a hook's calls, about one subject where that is given, the newest first."""
        return await self._database.read(_calls, name, limit, subject)

    async def forget_calls(self, older_than_seconds: float) -> int:
        """Delete calls that came so long ago; return how many."""
        return await self._database.write(_forget, older_than_seconds)


def _list(connection: Connection) -> list[StoredHook]:
    rows = connection.execute(select(hooks).order_by(hooks.c.name))
    return [StoredHook(name=row.name, document=row.document) for row in rows]


def _one(connection: Connection, name: str) -> StoredHook | None:
    row = connection.execute(select(hooks).where(hooks.c.name == name)).one_or_none()
    return None if row is None else StoredHook(name=row.name, document=row.document)


def _put(connection: Connection, name: str, hook: Hook) -> None:
    values = {"document": hook.model_dump(mode="json")}
    connection.execute(
        upsert(connection, hooks)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=[hooks.c.name], set_=values)
    )


def _delete(connection: Connection, name: str) -> bool:
    connection.execute(delete(hook_calls).where(hook_calls.c.hook == name))
    return connection.execute(delete(hooks).where(hooks.c.name == name)).rowcount > 0


def _note(connection: Connection, call: HookCall) -> None:
    values: dict[str, Any] = {"outcome": call.outcome, "job_id": call.job_id}
    connection.execute(
        upsert(connection, hook_calls)
        .values(
            hook=call.hook,
            digest=call.digest,
            event=call.event,
            subject=call.subject,
            received_at=moment(),
            **values,
        )
        .on_conflict_do_update(
            index_elements=[hook_calls.c.hook, hook_calls.c.digest],
            set_=values,
            # What a call made it made when it came first.
            where=hook_calls.c.job_id.is_(None),
        )
    )


def _calls(connection: Connection, name: str, limit: int, subject: str | None) -> list[HookCall]:
    found = select(hook_calls).where(hook_calls.c.hook == name)
    if subject is not None:
        found = found.where(hook_calls.c.subject == subject)
    newest = found.order_by(hook_calls.c.received_at.desc(), hook_calls.c.digest).limit(limit)
    return [
        HookCall(
            hook=row.hook,
            digest=row.digest,
            event=row.event,
            outcome=row.outcome,
            subject=row.subject,
            job_id=row.job_id,
            received_at=row.received_at,
        )
        for row in connection.execute(newest)
    ]


def _forget(connection: Connection, seconds: float) -> int:
    return connection.execute(delete(hook_calls).where(hook_calls.c.received_at <= moment(-seconds))).rowcount
