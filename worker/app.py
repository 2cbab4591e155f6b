"""The composition root: the only module that names concrete classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.adapters import checks as look
from worker.adapters.publisher import RabbitPublisher
from worker.adapters.sql import SqlRepository
from worker.core.errors import ToolMissing
from worker.core.routing import topology
from worker.registry import Registry

if TYPE_CHECKING:
    from worker.core.dead_letter import Publisher
    from worker.core.finding import Check
    from worker.core.ports import Repository
    from worker.settings import Settings


def repository(settings: Settings) -> Repository:
    """Return the database."""
    return SqlRepository(settings.database_url.get_secret_value())


def publisher(settings: Settings) -> Publisher:
    """Return the broker in people's hands."""
    return RabbitPublisher(settings.broker_url.get_secret_value())


def registry() -> Registry:
    """Return the installed tasks."""
    return Registry.load()


async def run_worker(settings: Settings, *, drain: bool, lanes: tuple[str, ...] | None) -> int:
    """Return the exit code of a worker."""
    raise ToolMissing(f"no engine here for {settings.id} {drain} {lanes}")


def checks(settings: Settings) -> list[tuple[str, Check]]:
    """Return what `doctor` looks at, in order."""
    return [
        ("database", lambda: look.database(repository(settings))),
        ("broker", lambda: look.broker(publisher(settings), topology(settings.retry_delays).queues)),
        ("scratch", lambda: look.scratch(settings.scratch, settings.scratch_free_bytes)),
    ]
