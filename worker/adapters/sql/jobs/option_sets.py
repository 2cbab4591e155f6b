"""The option sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import option_sets
from worker.core.record import OptionSet

if TYPE_CHECKING:
    from sqlalchemy import Connection


def option_set(connection: Connection, module: str, name: str) -> OptionSet | None:
    """Return one option set."""
    found = select(option_sets).where((option_sets.c.module == module) & (option_sets.c.name == name))
    row = connection.execute(found).mappings().one_or_none()
    return None if row is None else OptionSet.model_validate(row)


def list_option_sets(connection: Connection, module: str | None) -> list[OptionSet]:
    """Return all option sets, or one module's, by module and name."""
    stored = select(option_sets).order_by(option_sets.c.module, option_sets.c.name)
    if module is not None:
        stored = stored.where(option_sets.c.module == module)
    return [OptionSet.model_validate(row) for row in connection.execute(stored).mappings()]


def put_option_set(connection: Connection, chosen: OptionSet) -> None:
    """Store or replace one."""
    connection.execute(
        upsert(connection, option_sets)
        .values(**chosen.model_dump())
        .on_conflict_do_update(
            index_elements=[option_sets.c.module, option_sets.c.name], set_={"options": chosen.options}
        )
    )


def delete_option_set(connection: Connection, module: str, name: str) -> bool:
    """Return whether there was one."""
    gone = connection.execute(
        delete(option_sets).where((option_sets.c.module == module) & (option_sets.c.name == name))
    )
    return gone.rowcount > 0
