"""All that a fleet needs before its first worker starts: topology, tables, bucket. Repeating it changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.broker import declare, mark
from infra.bucket import ensure_bucket
from infra.migrations import head, identity, upgrade
from worker.core.redaction import redact
from worker.core.topology import topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.settings import ProvisionSettings


def provision(settings: ProvisionSettings) -> Iterator[str]:
    """Yield one line for each thing that is there now; raises a LeveretError of one line."""
    yield declare(settings.broker_url, topology(settings.retry_delays), settings.management_url)
    yield _migrate(settings.database_url)
    yield mark(settings.broker_url, identity(settings.database_url))
    if settings.storage_url.startswith("s3://"):
        yield ensure_bucket(settings)


def _migrate(database_url: str) -> str:
    upgrade(database_url)
    return f"database {redact(database_url)}: at revision {head()}"
