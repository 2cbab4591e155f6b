"""The base of the repositories in SQL: one database, and the questions about the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.adapters.sql.answers import Answers
from worker.adapters.sql.database import ANSWER_SECONDS, Database
from worker.adapters.sql.jobs import operator_queries

if TYPE_CHECKING:
    from worker.core.ports import DatabaseFacts

LONGEST_GAP: Final = 3 / 4
"""The part of a lease that may pass between two answers of a steady database: a renewed one has more left."""


class SqlBase:
    """One database, with which every store that a subclass adds works.

    `url` is `sqlite:///path` or `postgresql://user:password@host/name`; `answer_seconds` are those after which a
    silent database counts as away. Who claims jobs of others names its `lease_seconds`: it takes none over unless the
    database has answered it for so long. Nothing is connected before the first call.
    """

    def __init__(self, url: str, answer_seconds: float = ANSWER_SECONDS, *, lease_seconds: float | None = None) -> None:
        answers = None if lease_seconds is None else Answers(lease_seconds * LONGEST_GAP)
        self._database = Database(url, answer_seconds, answers)

    async def facts(self) -> DatabaseFacts:
        """Return what is known of the database itself."""
        return await self._database.read(operator_queries.facts)

    async def identity(self) -> str:
        """Return which database this is: random, made with it, and kept by a copy of it."""
        return await self._database.read(operator_queries.identify)

    async def check(self) -> None:
        """Return if the schema is the newest; Misconfigured names the command otherwise."""
        await self._database.read(operator_queries.check)

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()
