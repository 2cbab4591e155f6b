"""The connections that `Database` uses of one product, and what those have in common."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy import Connection

    from worker.adapters.sql.database.durability import Durability
    from worker.adapters.sql.database.statements import OneStatement

T = TypeVar("T")

ENGINE: Final[dict[str, Any]] = {
    "pool_size": 4,
    "max_overflow": 8,
    # Statements carry values of jobs: no error text may.
    "hide_parameters": True,
}


class Backend(Protocol):
    """The connections to one database."""

    def begin(self, work: Callable[[Connection], T], durability: Durability, seconds: float) -> asyncio.Future[T]:
        """Begin `work` in a transaction."""

    async def close(self) -> None:
        """Close every connection."""


@runtime_checkable
class CommitsAlone(Protocol):
    """A backend that can also run one statement that commits itself: SQLite changes no row within a WITH."""

    def begin_alone(
        self, one: OneStatement, durability: Durability, seconds: float
    ) -> asyncio.Future[tuple[Any, ...] | None]:
        """Begin such a statement; its result is its first row, None if it has none."""


def to_json(value: object) -> str:
    """Return `value` as JSON that both databases take: no NaN, and words for what JSON cannot say."""
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), default=str)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value
